"""Who is let in."""

from __future__ import annotations

import pytest

from support.live_server import TOKEN, LiveServer

CLOSED = ["/jobs", "/pipelines", "/graph", "/metrics", "/events", "/openapi.json", "/nothing"]
OPEN = ["/", "/health", "/healthz", "/readyz", "/session", "/page/page.js", "/favicon.ico"]


@pytest.mark.parametrize("path", CLOSED)
@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer wrong"},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": f"Bearer {TOKEN[:-1]}"},
        {"authorization": "Bearer \xfc\xe4"},
        {"authorization": "", "cookie": f"mdp_page={TOKEN}"},
        {"authorization": "", "cookie": 'mdp_page="'},
    ],
)
def test_wrong_token_opens_nothing(
    guarded: LiveServer, path: str, headers: dict[str, str]
) -> None:
    """Without the very token there is one answer, whatever is asked for."""
    given = {key: value.encode("latin-1") for key, value in headers.items() if value}
    with guarded.client() as client:
        del client.headers["authorization"]
        answer = client.get(path, headers=given)  # type: ignore[arg-type]
    assert answer.status_code == 401
    assert answer.json() == {"detail": "the token is missing or wrong"}
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", OPEN)
def test_page_and_probes_need_no_token(guarded: LiveServer, path: str) -> None:
    """The page holds no figures, and probes cannot bring a token."""
    with guarded.client() as client:
        del client.headers["authorization"]
        assert client.get(path).status_code == 200


def test_right_token_opens(guarded: LiveServer) -> None:
    """With the token everything can be asked for."""
    with guarded.client() as client:
        assert client.get("/jobs").json() == []


def test_browser_gets_a_cookie_for_the_token(guarded: LiveServer) -> None:
    """A page shows the token once; the cookie does not hold it and is out of scripts' reach."""
    with guarded.client() as client:
        del client.headers["authorization"]
        assert client.post("/session", json={"token": "wrong"}).status_code == 401
        answer = client.post("/session", json={"token": TOKEN})
        assert answer.status_code == 204
        cookie = answer.headers["set-cookie"]
        assert TOKEN not in cookie
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert client.get("/jobs").status_code == 200
        client.delete("/session")
        client.cookies.clear()
        assert client.get("/jobs").status_code == 401


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost:1", 200),
        ("[::1]:8083", 200),
        ("mdp.example", 200),
        ("MDP.example:80", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("192.0.2.1", 421),
        ("localhost.evil.example", 421),
        ("", 400),
        ("127.0.0.1/x", 400),
        ("a b", 400),
        ("127.0.0.1:999999", 400),
    ],
)
@pytest.mark.parametrize("path", ["/", "/jobs", "/health"])
def test_host_of_another_name_is_refused(
    guarded: LiveServer, host: str, status: int, path: str
) -> None:
    """A page whose name was pointed at this machine (DNS rebinding) gets no answer."""
    with guarded.client() as client:
        assert client.get(path, headers={"host": host}).status_code == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 404),
        ({"origin": "SELF"}, 404),
        ({"origin": "null"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "http://127.0.0.1"}, 403),
        ({"sec-fetch-site": "same-origin"}, 404),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
    ],
)
def test_other_site_changes_nothing(
    open_server: LiveServer, headers: dict[str, str], status: int
) -> None:
    """A page of another site cannot make a browser stop a pipeline here."""
    given = {k: open_server.url if v == "SELF" else v for k, v in headers.items()}
    with open_server.client() as client:
        assert client.post("/jobs/x/stop", headers=given).status_code == status


def test_simple_form_of_another_site_is_refused(open_server: LiveServer) -> None:
    """A body of a type that needs no permission of the browser is not a pipeline."""
    with open_server.client() as client:
        for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
            answer = client.post("/jobs", content="nodes: {}", headers={"content-type": kind})
            assert answer.status_code == 415


def test_headers_forbid_what_the_page_does_not_need(guarded: LiveServer) -> None:
    """No inline script, no frame, nothing from elsewhere; also on refusals."""
    with guarded.client() as client:
        for path in ("/", "/jobs", "/nothing", "/page/page.js"):
            headers = client.get(path, headers={"accept": "text/html"}).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert "frame-ancestors 'none'" in policy
            assert "server" not in headers


@pytest.mark.parametrize(
    "path",
    [
        "/page/../settings.py",
        "/page/..%2fsettings.py",
        "/page/%2e%2e/settings.py",
        "/page//etc/passwd",
        "/page/page.html%00",
        "/page/__init__.py",
    ],
)
def test_no_other_file_is_served(guarded: LiveServer, path: str) -> None:
    """Paths lead to the three files of the page and nowhere else."""
    with guarded.client() as client:
        assert client.get(path).status_code in {401, 404}
