"""Admin pages of other apps, replaced by ours."""
