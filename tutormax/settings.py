"""All settings, from the environment (docs/reference.md); the defaults are those of `make run`, in .run/."""

from pathlib import Path
from typing import Any

import dj_database_url
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from tutormax import __version__, env

BASE_DIR = Path(__file__).resolve().parent.parent
RUN_DIR = BASE_DIR / ".run"

VERSION = __version__
SECRET_KEY = env.string("SECRET_KEY") or env.load_or_create_secret(RUN_DIR / "secret_key")
SECRET_KEY_FALLBACKS = env.string_list("SECRET_KEY_FALLBACKS")
DEBUG = env.boolean("DEBUG", False)
ALLOWED_HOSTS = env.string_list("ALLOWED_HOSTS", "localhost,127.0.0.1")
PORT = env.integer("PORT", 8000, minimum=1, maximum=65_535)
HTTPS = env.boolean("HTTPS", False)
CSRF_TRUSTED_ORIGINS = env.string_list("CSRF_TRUSTED_ORIGINS")
CORS_ORIGINS = env.origins("CORS_ORIGINS")
THROTTLE = env.integer("THROTTLE", 0, maximum=100_000)
LOG_LEVEL = env.log_level("LOG_LEVEL", "INFO")
DOCS_PUBLIC = env.boolean("DOCS_PUBLIC", True)
METRICS_PUBLIC = env.boolean("METRICS_PUBLIC", False)

# Limits of the pipeline: durations in seconds, sizes in records and bytes.
REFERENCE_WAIT = env.integer("REFERENCE_WAIT", 86_400)
CREATE_MISSING_STUDENTS = env.boolean("CREATE_MISSING_STUDENTS", False)
MAX_BATCH_RECORDS = env.integer("MAX_BATCH_RECORDS", 10_000, minimum=1)
MAX_BODY_BYTES = env.integer("MAX_BODY_BYTES", 32_000_000, minimum=1)
MAX_UPLOAD_BYTES = env.integer("MAX_UPLOAD_BYTES", 10_000_000_000, minimum=1)
MAX_PREVIEW_BYTES = env.integer("MAX_PREVIEW_BYTES", 1_000_000_000)
MAX_PENDING_RECORDS = env.integer("MAX_PENDING_RECORDS", 1_000_000, minimum=1)
MAX_CLIENT_PENDING_RECORDS = env.integer("MAX_CLIENT_PENDING_RECORDS", 0) or MAX_PENDING_RECORDS // 2 or 1
MAX_CLIENT_PENDING_BYTES = env.integer("MAX_CLIENT_PENDING_BYTES", 2_000_000_000, minimum=1)
MAX_CLIENT_WAITING_RECORDS = env.integer("MAX_CLIENT_WAITING_RECORDS", 100_000, minimum=1)
MAX_CLIENT_DEAD_LETTERS = env.integer("MAX_CLIENT_DEAD_LETTERS", 100_000, minimum=1)
RETENTION = env.integer("RETENTION", 2_592_000, maximum=3_153_600_000)  # a hundred years
CLAIM_LEASE = env.integer("CLAIM_LEASE", 60, minimum=1)
WEB_PROCESSES = env.integer("WEB_PROCESSES", 2, minimum=1)
WEB_THREADS = env.integer("WEB_THREADS", 4, minimum=1)
DRAIN_TIME = env.integer("DRAIN_TIME", 3, maximum=300)
CLIENT_TIMEOUT = env.integer("CLIENT_TIMEOUT", 60, minimum=1)
TRANSACTION_POOLING = env.boolean("TRANSACTION_POOLING", False)
STATEMENT_TIMEOUT = 0 if TRANSACTION_POOLING else env.integer("STATEMENT_TIMEOUT", 30)
WORKERS = env.integer("WORKERS", 2, minimum=1)
SWEEP_INTERVAL = env.integer("SWEEP_INTERVAL", 60, minimum=1)
WATCH_PATIENCE = env.integer("WATCH_PATIENCE", 180, minimum=1)

# Films.
PUBLIC_UPLOADS = env.boolean("PUBLIC_UPLOADS", False)
POSTERS = env.boolean("POSTERS", True)
TMDB_API_KEY = env.credential("TMDB_API_KEY")
TMDB_URL = env.address("TMDB_URL", "https://api.themoviedb.org")
TMDB_RATE = env.rate("TMDB_RATE", "40/10")
TMDB_LANGUAGE = env.language("TMDB_LANGUAGE", "en-US")
TMDB_EXPIRY = env.integer("TMDB_EXPIRY", 2_592_000, minimum=1, maximum=15_552_000)  # TMDB's terms allow 180 days

# Music.
SPOTIFY_CLIENT_ID = env.credential("SPOTIFY_CLIENT_ID")
SPOTIFY_CLIENT_SECRET = env.credential("SPOTIFY_CLIENT_SECRET")
SPOTIFY_REFRESH_TOKEN = env.credential("SPOTIFY_REFRESH_TOKEN")
SPOTIFY_URL = env.address("SPOTIFY_URL", "https://api.spotify.com")
SPOTIFY_ACCOUNTS_URL = env.address("SPOTIFY_ACCOUNTS_URL", "https://accounts.spotify.com")
SPOTIFY_RATE = env.rate("SPOTIFY_RATE", "90/30")
MUSICBRAINZ_CONTACT = env.contact("MUSICBRAINZ_CONTACT")
MUSICBRAINZ_URL = env.address("MUSICBRAINZ_URL", "https://musicbrainz.org")
MUSICBRAINZ_RATE = env.rate("MUSICBRAINZ_RATE", "1/1")
OPENWEATHER_API_KEY = env.credential("OPENWEATHER_API_KEY")
OPENWEATHER_URL = env.address("OPENWEATHER_URL", "https://api.openweathermap.org")
OPENWEATHER_RATE = env.rate("OPENWEATHER_RATE", "60/60")

INSTALLED_APPS = [
    "tutormax.apps.TutorMaxConfig",
    "tutormax.apps.TutorMaxAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.forms",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "rest_framework_api_key",
    "axes",
    "django_otp",
    "django_otp.plugins.otp_static",
    "django_otp.plugins.otp_totp",
    "corsheaders",
    "console",
    "api",
    "ingestion",
    "enrichment",  # before django_q: its qcluster is the one that runs
    "tutoring",
    "movies",
    "music",
    "django_q",
]
MIDDLEWARE = [
    "tutormax.middleware.request_id",
    "csp.middleware.CSPMiddleware",  # rejections by the next ones have its headers, too
    *(["corsheaders.middleware.CorsMiddleware"] if CORS_ORIGINS else []),
    "tutormax.middleware.answer_any_host",
    "tutormax.middleware.reject_malformed",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "tutormax.second_factor.require_second_factor",
    "tutormax.sessions.renew_session",
    "tutormax.limits.LimitBodies",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "tutormax.urls"
APPEND_SLASH = False  # every path of the API works with and without; the admin's own site adds its slashes
WSGI_APPLICATION = "tutormax.wsgi.application"
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"  # our templates come before Django's in forms, too
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]


def database(url: str) -> dict[str, Any]:
    """Django's settings for the database at `url`, PostgreSQL or SQLite; connections are kept for a minute."""
    try:
        config: dict[str, Any] = {**dj_database_url.parse(url, conn_max_age=60, conn_health_checks=True)}
    except (ValueError, dj_database_url.ParseError, dj_database_url.UnknownSchemeError):
        raise ImproperlyConfigured("DATABASE_URL must be like postgres://user:password@host/name.") from None
    match config["ENGINE"]:
        case "django.db.backends.postgresql":
            config["ENGINE"] = "tutormax.postgresql"
            config["OPTIONS"] = {"connect_timeout": 3, **config.get("OPTIONS", {})}
        case "django.db.backends.sqlite3":
            config["OPTIONS"] = {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
            }
        case engine:
            raise ImproperlyConfigured(f"DATABASE_URL must name PostgreSQL or SQLite, not {engine}.")
    return config


DATABASES = {"default": database(env.string("DATABASE_URL", f"sqlite:///{RUN_DIR / 'db.sqlite3'}"))}
DATABASES["default"]["DISABLE_SERVER_SIDE_CURSORS"] = TRANSACTION_POOLING
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}  # nothing of ours is cached

REDIS_URL = env.redis_address("REDIS_URL")

# Tasks are doorbells and carry no data; retries live in the deliveries. retry >= timeout * (2 + ceil((queue_limit +
# bulk) / workers)), or tasks still waiting in memory run twice.
Q_CLUSTER = {
    "name": "tutormax",
    "label": "Task queue",
    "orm": "default",
    "broker_class": f"enrichment.cluster.{'redis_broker.RedisBroker' if REDIS_URL else 'broker.Broker'}",
    "workers": WORKERS,
    "timeout": 120,
    "retry": 720,
    "queue_limit": 2,
    "bulk": 1,
    "max_attempts": 1,
    "ack_failures": True,
    "poll": 0.3,
    "guard_cycle": 2,
    "catch_up": False,
    "save_limit": 250,
    "recycle": 500,
    "max_rss": 400_000,
}

AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False  # or an early retry would extend the lockout
AXES_HANDLER = "tutormax.lockout.LockoutHandler"
AXES_VERBOSE = False
AXES_CLIENT_IP_CALLABLE = "tutormax.lockout.client_address"
AXES_LOCKOUT_CALLABLE = "tutormax.lockout.lockout_response"
CSRF_FAILURE_VIEW = "tutormax.csrf.csrf_failure"
SESSION_COOKIE_AGE = env.integer("SESSION_IDLE_TIME", 43_200, minimum=60)  # seconds; renewed by tutormax.sessions
SECOND_FACTOR = env.choice("SECOND_FACTOR", "off", "optional", "required")
OTP_TOTP_ISSUER = "TutorMax"
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "api.auth.ApiKeyAuthentication",
        "api.auth.StaffSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["api.auth.HasScope"],
    "DEFAULT_THROTTLE_CLASSES": ["api.throttling.PerKey"],
    "DEFAULT_RENDERER_CLASSES": [
        "rest_framework.renderers.JSONRenderer",
        "rest_framework.renderers.BrowsableAPIRenderer",
    ],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "api.errors.handle_exception",
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "TutorMax",
    "VERSION": VERSION,
    "DESCRIPTION": """Post tutors, students, sessions and feedback; read them back enriched.
The [client guide](/guide) shows how, with examples to run.

- Send an API key with every request: `Authorization: Api-Key <prefix>.<secret>`.
- 202 means durably stored. Records are enriched a moment later; `status_url` shows the outcome of each.
- All errors share one format; unknown parameters and values are errors listing the allowed ones.
- After 429, 503 or no answer, retry the request; with an `Idempotency-Key` nothing is stored twice.
- Times are ISO 8601; without an offset they are in the server's `TIME_ZONE`. Answers are in UTC, except
  `scheduled_start`, which keeps the offset it was sent with.
- Every path works with and without a trailing slash.
""",
    "OAS_VERSION": "3.1.0",
    "DEFAULT_GENERATOR_CLASS": "api.schema.generator.Generator",
    "POSTPROCESSING_HOOKS": [],  # they would move enums out of the schemas
    "AUTHENTICATION_WHITELIST": ["api.auth.ApiKeyAuthentication"],  # sessions are for people
    "SERVE_PUBLIC": True,
    "SERVE_PERMISSIONS": ["api.auth.DocsReadable"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "docExpansion": "list", "defaultModelsExpandDepth": 0},
    "REDOC_DIST": "SIDECAR",
    "SERVE_INCLUDE_SCHEMA": False,
}
FILE_UPLOAD_HANDLERS = ["ingestion.files.spool.SpoolHandler"]
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES + 1  # the view answers 413 itself, in the API's error shape

LANGUAGE_CODE = "en"
TIME_ZONE = env.time_zone("TIME_ZONE", "UTC")
FORMAT_MODULE_PATH = "tutormax.formats"
USE_I18N = False
USE_TZ = True
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True  # static files are served without a collectstatic before

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
CORS_ALLOWED_ORIGINS = CORS_ORIGINS
CORS_URLS_REGEX = r"^/(api|health|openapi\.json)(/|$)"
CORS_ALLOW_METHODS = ["GET", "HEAD", "POST", "OPTIONS"]
CORS_ALLOW_HEADERS = ["Authorization", "Content-Type", "Content-Encoding", "Idempotency-Key", "X-Request-ID"]
CORS_EXPOSE_HEADERS = ["Retry-After", "X-Request-ID", "X-Api-Key-Expires", "Content-Disposition"]
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^health(/live)?/?$", r"^metrics/?$"]  # load balancers speak plain HTTP behind the proxy
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"requests": {"()": "tutormax.logs.RequestFilter"}},
    "formatters": {
        "line": {
            "()": "tutormax.logs.SingleLineFormatter",
            "format": "%(asctime)s %(levelname)s [%(request_id)s] %(name)s: %(message)s",
        }
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["requests"]}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {
        "django": {"level": "INFO"},  # with DEBUG its SQL would show what is in the bodies
        "django-q": {"level": "WARNING"},
        "axes": {"level": "WARNING"},
        "urllib3": {"level": "CRITICAL"},  # it logs addresses, in which keys are
    },
}
