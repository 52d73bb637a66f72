"use strict";

// Under Authorize the key alone will do: its scheme is put before it.
const withScheme = (value) => (value.includes(" ") ? value : `Api-Key ${value}`);

const requestInterceptor = (request) => {
  if (request.headers.Authorization) {
    request.headers.Authorization = withScheme(request.headers.Authorization);
  } else if (!["GET", undefined].includes(request.method)) {
    request.headers["{{ csrf_header_name }}"] = "{{ csrf_token }}"; // for the session of a member of staff
  }
  return request;
};

SwaggerUIBundle({
  url: "{{ schema_url|escapejs }}",
  dom_id: "#swagger-ui",
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  requestInterceptor,
  ...{{ settings|safe }},
});
