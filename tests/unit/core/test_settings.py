"""What is said of a wrong setting names the variable and never its value: values hold passwords."""

import pytest
from pydantic import ValidationError

from services.core.settings import Settings

SECRET = "S3cret"


@pytest.mark.parametrize(
    "wrong",
    [
        {"DATABASE_URL": f"postgresql+psycopg://u:{SECRET}@h/db"},
        {"BIND": "0.0.0.0", "REDIS_URL": f"redis://:{SECRET}@h"},
    ],
)
def test_a_refused_setting_is_not_repeated(wrong: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in wrong.items():
        monkeypatch.setenv(f"PORTRAIT_{name}", value)
    with pytest.raises(ValidationError) as refused:
        Settings()
    assert SECRET not in str(refused.value) and "PORTRAIT_" in str(refused.value)
