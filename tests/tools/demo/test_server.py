import pytest
from starlette.testclient import TestClient

from tools.demo.server import POLICY, create_app, listen


def test_a_socket_is_this_machines_alone_and_a_taken_port_is_named() -> None:
    listening, address = listen(0)
    with listening:
        host, port = listening.getsockname()
        assert (host, address) == ("127.0.0.1", f"http://127.0.0.1:{port}")
        with pytest.raises(OSError) as error:
            listen(port)
    assert str(error.value) == (
        f"demo.port: {port}: Address already in use: expected a free port of 127.0.0.1, "
        "or 0 for any"
    )


@pytest.mark.parametrize(
    ("host", "status"), [("127.0.0.1:7860", 404), ("localhost", 404), ("example.org", 400)]
)
def test_other_host_names_are_refused_and_every_response_has_the_policy(
    host: str, status: int
) -> None:
    response = TestClient(create_app()).get("/", headers={"Host": host})
    assert response.status_code == status
    assert response.headers["content-security-policy"] == POLICY
    assert "http" not in POLICY


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:7860", 404),
        ("http://localhost:7860", 404),
        ("https://example.org", 403),
        ("http://127.0.0.1.example.org", 403),
        ("null", 403),
    ],
)
def test_pages_of_other_hosts_are_refused(origin: str, status: int) -> None:
    headers = {"Host": "127.0.0.1", "Origin": origin}
    assert TestClient(create_app()).post("/", headers=headers).status_code == status
