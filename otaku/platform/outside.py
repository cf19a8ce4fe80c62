"""Services that a setting names: they are asked, never started, and blamed by the name of their setting."""

from otaku.platform import object_store, postgres, tracking
from recsys.exceptions import ServiceUnavailableError
from recsys.settings import Settings

SETTING_OF = {
    postgres.NAME: "OTAKU_DATABASE_URL",
    object_store.NAME: "OTAKU_S3_ENDPOINT_URL",
    tracking.NAME: "MLFLOW_TRACKING_URI",
}


def check_outside_services(settings: Settings) -> None:
    """Ask each service that a setting names.

    Raises
    ------
    ServiceUnavailableError
        One does not answer; names its setting, never its password.
    """
    problems = {
        postgres.NAME: settings.database_url and postgres.problem_of(settings.database_url.get_secret_value()),
        object_store.NAME: settings.s3_endpoint_url and object_store.problem_of_settings(settings),
        tracking.NAME: settings.mlflow_tracking_uri and tracking.problem_of(settings.mlflow_tracking_uri),
    }
    broken = [f"{SETTING_OF[name]}: {problem}" for name, problem in problems.items() if problem]
    if broken:
        raise ServiceUnavailableError(
            f"the service named by {'; '.join(broken)} (correct the setting, or unset it to use the embedded service)"
        )
