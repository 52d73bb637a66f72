from django.contrib.admin import AdminSite


class TutorMaxAdminSite(AdminSite):
    site_header = "TutorMax"
    site_title = "TutorMax"
    index_title = "Dashboard"
