"""The deployment's configuration file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import sutro_stream
from sutro_stream.errors import ConfigurationError
from sutro_stream.jobs.config import Quota
from sutro_stream.settings.deployment import DeploymentSettings
from sutro_stream.values.catalogue import ModelKind
from sutro_stream.values.endpoint import Endpoint

EXAMPLES = Path(sutro_stream.__file__).parents[1] / "examples"
SECRET = "sk-of-the-endpoint"

Load = Callable[..., DeploymentSettings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Settings from the text of a file."""

    def call(
        text: str, *, environment: Mapping[str, str] | None = None
    ) -> DeploymentSettings:
        path = tmp_path / "deployment.toml"
        path.write_text(text)
        return DeploymentSettings.load(
            path, data_dir=tmp_path / "data", environment=environment or {}
        )

    return call


def test_without_a_file_the_embedded_model_answers(tmp_path: Path) -> None:
    """Under Sutro's default name too."""
    settings = DeploymentSettings.load(data_dir=tmp_path)
    model = settings.service.catalogue.model("gpt-oss-20b")
    assert model is not None
    assert model.endpoints == ()
    assert settings.service.data_dir == tmp_path


def test_an_empty_file_is_as_none(load: Load, tmp_path: Path) -> None:
    """Everything has a default."""
    assert load("") == DeploymentSettings.load(data_dir=tmp_path / "data")


def test_the_example_is_understood(tmp_path: Path) -> None:
    """As it stands, without any variable set; it has every known model ID."""
    settings = DeploymentSettings.load(
        EXAMPLES / "deployment.toml", data_dir=tmp_path, environment={}
    )
    catalogue = settings.service.catalogue
    for name in ("gpt-oss-20b", "qwen-3.5-2b-thinking", "gemma-3-12b-it"):
        assert catalogue.model(name) is not None
    for name in ("embeddinggemma-300m", "qwen-3-embedding-0.6b"):
        model = catalogue.model(name)
        assert model is not None
        assert model.kind is ModelKind.EMBEDDING


def test_a_model_behind_endpoints(load: Load) -> None:
    """Their keys come from the environment and are not shown."""
    settings = load(
        """
        [models."big"]
        endpoints = [
          { url = "http://127.0.0.1:8000/v1", transport = "aiohttp" },
          { url = "https://b.example/v1", api_key_env = "K", dialect = "openai" },
        ]
        served_name = "meta/big"
        context_window = 8192
        reasoning = true
        input_price = 1
        sampling = { temperature = 0.5 }
        """,
        environment={"K": SECRET},
    )
    model = settings.service.catalogue.models["big"]
    assert model.endpoints == (
        Endpoint(url="http://127.0.0.1:8000/v1", transport="aiohttp"),
        Endpoint(url="https://b.example/v1", api_key=SECRET, dialect="openai"),
    )
    assert model.sampling.temperature == 0.5
    assert (model.served_name, model.context_window) == ("meta/big", 8192)
    assert (model.reasoning, model.input_price) == (True, 1.0)
    assert settings.service.catalogue.default == "big"
    assert SECRET not in repr(settings)


def test_prices_of_a_model_are_a_table_as_well(load: Load) -> None:
    """In the words of a file of prices; not both ways at once."""
    text = """
        [models.big]
        endpoints = [{ url = "http://127.0.0.1:8000/v1" }]
        price = { input = 2.5, output = 10, cached_input = 0.25 }
        """
    model = load(text).service.catalogue.models["big"]
    assert (model.input_price, model.output_price) == (2.5, 10.0)
    assert model.cached_input_price == 0.25
    with pytest.raises(ConfigurationError, match="not both"):
        load(f"{text}\ninput_price = 1")


def test_limits(load: Load) -> None:
    """What is not given keeps its default."""
    service = load(
        """
        [limits]
        max_body_bytes = 10
        retention_days = "never"
        function_requests_per_minute = 60

        [quotas.0]
        rows = 5
        tokens = 50

        [urls]
        allow_private = true
        flatten_newlines = true
        """
    ).service
    assert service.max_body_bytes == 10
    assert service.retention_days is None
    assert service.function_requests_per_minute == 60
    assert service.quotas[0] == Quota(rows=5, tokens=50)
    assert service.quotas[1].rows == 1_000_000
    assert service.urls.allow_private
    assert service.flatten_newlines


def test_custom_models_lie_beside_the_file(load: Load, tmp_path: Path) -> None:
    """They belong to one account."""
    spec = (EXAMPLES / "lead-qualifier.json").read_text()
    (tmp_path / "lead.json").write_text(spec)
    catalogue = load(
        '[[custom_models]]\naccount = "alice"\nfunction = "lead.json"'
    ).service.catalogue
    assert catalogue.custom_model("lead-qualifier", account="alice") is not None
    assert catalogue.custom_model("lead-qualifier", account="bob") is None


def test_how_it_is_reached(load: Load, tmp_path: Path) -> None:
    """Files lie beside the configuration."""
    (tmp_path / "chain.pem").touch()
    server = load(
        """
        [server]
        host = "0.0.0.0"
        port = 443
        public_url = "https://batch.example.com/"
        certificate = "chain.pem"
        """
    ).server
    assert (server.host, server.port) == ("0.0.0.0", 443)  # noqa: S104
    assert server.public_url == "https://batch.example.com"
    assert server.certificate == tmp_path / "chain.pem"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = ", "not TOML"),
        ("models = 1", "models"),
        ("[server]\nprot = 1", "server.prot is not a known field"),
        ("[server]\nport = '1'", "server.port"),
        ("[server]\nport = 65536", "server.port"),
        ("[server]\npublic_url = 'x.example'", "server.public_url: not an http"),
        ("[server]\nprivate_key = 'k'", "no server.certificate"),
        ("[server]\ncertificate = 'k.pem'", "there is no file"),
        ("[limits]\nmax_body_bytes = 0", "limits.max_body_bytes"),
        ("[limits]\nretention_days = 'always'", "limits.retention_days"),
        ("[quotas.2]\nrows = 1\ntokens = 1", "quotas"),
        ("[quotas.0]\nrows = 1", "quotas.0.tokens is required"),
        ("[models.'a/b']", "models.a/b"),
        ("[models.a]\ngguf = 'none.gguf'", "none.gguf"),
        ("[models.a]\nsampling = { temperature = -1 }", "models.a.sampling"),
        ("[models.a]\nsampling = { heat = 1 }", "heat"),
        (
            "[models.a]\ngguf='g'\nendpoints=[{url='http://h/v1'}]",
            "not both",
        ),
        ("[models.a]\nendpoints=[{url='h/v1'}]", "models.a.endpoints[0].url"),
        ("[models.a]\nendpoints=[{url='http://u:p@h/v1'}]", "without user"),
        ("[models.a]\n[aliases]\nb = 'c'", "there is no model 'c'"),
        ("[models.a]\n[aliases]\na = 'a'", "name of a model"),
        ("default_model = 'b'\n[models.a]", "default_model"),
        ("[[custom_models]]\naccount='a'\nfunction='none.json'", "none.json"),
    ],
)
def test_a_mistake_is_told_by_its_place(load: Load, text: str, told: str) -> None:
    """With the file's name, in a message and not as a traceback."""
    with pytest.raises(ConfigurationError) as caught:
        load(text)
    assert "deployment.toml" in str(caught.value)
    assert told in str(caught.value)


def test_a_key_that_is_not_set_is_a_mistake(load: Load) -> None:
    """Its name is not repeated: it may be the key itself."""
    text = f"[models.a]\nendpoints = [{{url='http://h/v1', api_key_env='{SECRET}'}}]"
    with pytest.raises(ConfigurationError) as caught:
        load(text)
    assert "models.a.endpoints[0].api_key_env" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_custom_model_cannot_hide_another(load: Load, tmp_path: Path) -> None:
    """Names of the catalogue win, so it could never be asked for."""
    (tmp_path / "f.json").write_text('{"name": "a", "inputs": [{"name": "q"}]}')
    with pytest.raises(ConfigurationError, match="name of another model"):
        load("[models.a]\n[[custom_models]]\naccount = 'x'\nfunction = 'f.json'")


def test_a_custom_model_needs_one_that_is_offered(load: Load, tmp_path: Path) -> None:
    """Told when the file is read, and not by the first job."""
    spec = '{"name": "f", "model": "none", "inputs": [{"name": "q"}]}'
    (tmp_path / "f.json").write_text(spec)
    with pytest.raises(ConfigurationError, match="'none' is not offered"):
        load("[[custom_models]]\naccount = 'x'\nfunction = 'f.json'")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """By its name."""
    with pytest.raises(ConfigurationError, match=r"none\.toml: no such file"):
        DeploymentSettings.load(tmp_path / "none.toml", data_dir=tmp_path)


def test_metrics_are_served_where_the_operator_says(load: Load) -> None:
    """They need no key."""
    assert load("").server.metrics is False
    assert load("[server]\nmetrics = true").server.metrics is True


def test_the_floor_of_the_disk(load: Load) -> None:
    """A gibibyte unless something else is said; 0 is none."""
    assert load("").service.disk_floor_bytes == 1 << 30
    assert load("[limits]\ndisk_floor_bytes = 0").service.disk_floor_bytes == 0
    with pytest.raises(ConfigurationError, match="disk_floor_bytes"):
        load("[limits]\ndisk_floor_bytes = -1")
