//! HTTP to a provider that misbehaves: every answer ends, in time and in size, and says who is at fault.

use crate::server::{Server, answer};
use mlflow_oidc::edge::http::HttpTransport;
use mlflow_oidc::oidc::message::{Request, Response};
use mlflow_oidc::ports::{Transport, TransportFault};
use mlflow_oidc::secret::Secret;
use std::io::Write;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

const TIMEOUT: Duration = Duration::from_secs(2);
const MEGABYTE: usize = 1024 * 1024;

static TRANSPORT: LazyLock<HttpTransport> = LazyLock::new(|| HttpTransport::new(TIMEOUT, None).unwrap());

fn get(url: impl Into<String>) -> Result<Response, TransportFault> {
    TRANSPORT.send(&Request::get(url))
}

/// The words of a fault that came in time.
fn fault(url: impl Into<String>) -> String {
    let began = Instant::now();
    let words = get(url).unwrap_err().0;
    assert!(began.elapsed() < TIMEOUT + Duration::from_secs(2), "{words} took {:?}", began.elapsed());
    words
}

#[test]
fn an_answer_is_brought_as_it_is() {
    let server =
        Server::saying(answer("200 OK", "Content-Type: Application/JSON; charset=utf-8\r\n", r#"{"a":1}"#));
    let response = get(server.url("/x?y=z")).unwrap();
    assert_eq!((response.status, response.content_type.as_deref()), (200, Some("application/json")));
    assert_eq!((response.body.as_slice(), response.max_age), (br#"{"a":1}"#.as_slice(), None));
    let asked = server.asked().remove(0);
    assert_eq!(asked.line, "GET /x?y=z HTTP/1.1");
    assert_eq!(asked.header("accept"), Some("application/json"));
    assert!(asked.header("user-agent").unwrap().starts_with("mlflow-oidc/"));
    for name in ["authorization", "cookie", "referer", "accept-encoding"] {
        assert_eq!(asked.header(name), None, "{name}");
    }
}

#[test]
fn other_statuses_are_brought_too() {
    for status in
        ["400 Bad Request", "401 Unauthorized", "404 Not Found", "429 Slow Down", "500 Oops", "503 Later"]
    {
        let response = get(Server::saying(answer(status, "", "why")).url("/")).unwrap();
        assert_eq!(response.status.to_string(), status[..3]);
        assert_eq!((response.content_type, response.body.as_slice()), (None, b"why".as_slice()));
    }
}

#[test]
fn a_form_is_posted_with_the_credentials() {
    let server = Server::saying(answer("200 OK", "", "{}"));
    let form = Some(Secret::new("grant_type=authorization_code&code=c%20d"));
    let authorization = Some(Secret::new("Basic YTpi"));
    TRANSPORT.send(&Request { form, authorization, ..Request::get(server.url("/token")) }).unwrap();
    let asked = server.asked().remove(0);
    assert_eq!(asked.line, "POST /token HTTP/1.1");
    assert_eq!(asked.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(asked.header("authorization"), Some("Basic YTpi"));
    assert_eq!(asked.body, "grant_type=authorization_code&code=c%20d");
}

#[test]
fn how_long_an_answer_may_be_kept() {
    for (value, expected) in [
        ("max-age=600", Some(600)),
        ("public, max-age=3600, must-revalidate", Some(3600)),
        ("MAX-AGE=5", Some(5)),
        ("max-age=\"7\"", Some(7)),
        ("max-age=0", Some(0)),
        ("no-store, max-age=600", None),
        ("max-age=600, No-Cache", None),
        ("s-maxage=600", None),
        ("max-age=soon", None),
        ("max-age=99999999999999999999", None),
        ("", None),
    ] {
        let server = Server::saying(answer("200 OK", &format!("Cache-Control: {value}\r\n"), "{}"));
        assert_eq!(get(server.url("/")).unwrap().max_age, expected, "{value}");
    }
}

#[test]
fn a_megabyte_is_taken_and_no_byte_more() {
    let fits = Server::saying(answer("200 OK", "", &"x".repeat(MEGABYTE)));
    assert_eq!(get(fits.url("/")).unwrap().body.len(), MEGABYTE);
    let large = Server::saying(answer("200 OK", "", &"x".repeat(MEGABYTE + 1)));
    assert!(fault(large.url("/")).contains("more than 1048576 bytes"));
}

#[test]
fn an_answer_without_end_is_cut_off() {
    let endless = Server::new(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
        while stream.write_all(chunk.as_bytes()).is_ok() {}
    });
    assert!(fault(endless.url("/")).contains("more than 1048576 bytes"));
    let headers = Server::new(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(format!("X: {}\r\n", "x".repeat(8000)).as_bytes()).is_ok() {}
    });
    fault(headers.url("/"));
}

#[test]
fn a_length_that_is_a_lie_is_not_believed() {
    let head = |length: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{{}}");
    // Nothing is set aside for what is only announced, and nothing is waited for after the other side has gone.
    for length in ["3", "99999999999", "18446744073709551615", "99999999999999999999999", "-1", "2, 3", "x"] {
        assert!(fault(Server::saying(head(length)).url("/")).starts_with("no usable answer"), "{length}");
    }
    let less = get(Server::saying(head("1")).url("/")).unwrap();
    assert_eq!(less.body, b"{", "what comes after the end is no part of it");
    let both =
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n\r\n";
    // RFC 9112 section 6.3: the coding decides, or it is refused; the length never does.
    if let Ok(response) = get(Server::saying(both).url("/")) {
        assert_eq!(response.body, b"{");
    }
}

#[test]
fn what_may_come_any_number_of_times_ends_too() {
    let hints =
        Server::new(|_, stream| while stream.write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n").is_ok() {});
    fault(hints.url("/"));
    let trailers = Server::new(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n");
        while stream.write_all(b"X: y\r\n").is_ok() {}
    });
    fault(trailers.url("/"));
    let extensions = Server::new(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;");
        while stream.write_all(b"name=value;").is_ok() {}
    });
    fault(extensions.url("/"));
    let empty_lines = Server::new(|_, stream| while stream.write_all(b"\r\n").is_ok() {});
    fault(empty_lines.url("/"));
}

#[test]
fn a_bomb_of_gzip_stays_packed() {
    let server = Server::saying(answer("200 OK", "Content-Encoding: gzip\r\n", "\u{1F}packed"));
    assert_eq!(get(server.url("/")).unwrap().body, "\u{1F}packed".as_bytes());
}

#[test]
fn a_slow_drip_ends_with_the_time() {
    let head = Server::new(|_, stream| {
        for byte in b"HTTP/1.1 200 OK\r\nX: ".iter().chain(std::iter::repeat(&b'x')) {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    assert_eq!(fault(head.url("/")), "no answer within 2 s");
    let body = Server::new(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    assert_eq!(fault(body.url("/")), "no answer within 2 s");
}

#[test]
fn silence_ends_with_the_time() {
    let silent = Server::new(|_, _| std::thread::sleep(Duration::from_secs(6)));
    assert_eq!(fault(silent.url("/")), "no answer within 2 s");
    // Who wants to know sooner is told sooner, and who would wait longer is not kept waiting.
    for (seconds, words) in [(1, "no answer within 1 s"), (30, "no answer within 2 s")] {
        let request = Request { within: Some(Duration::from_secs(seconds)), ..Request::get(silent.url("/")) };
        assert_eq!(TRANSPORT.send(&request).unwrap_err().0, words);
    }
}

#[test]
fn nobody_there_is_told_at_once_and_without_the_address() {
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let request = Request {
        url: format!("http://127.0.0.1:{port}/token?code=in-the-address"),
        form: Some(Secret::new("code=in-the-form")),
        authorization: Some(Secret::new("Basic in-the-header")),
        within: None,
    };
    let began = Instant::now();
    let words = TRANSPORT.send(&request).unwrap_err().0;
    assert!(words.starts_with("no connection"), "{words}");
    assert!(!words.contains("in-the"), "{words}");
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[test]
fn what_is_not_http_is_a_fault() {
    for bytes in [
        "",
        "hello\r\n\r\n",
        "HTTP/1.1 abc\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        "\0\0\0\0",
    ] {
        let words = fault(Server::saying(bytes).url("/"));
        assert!(!words.is_empty(), "{bytes:?}");
    }
    let plain = Server::saying(answer("200 OK", "", "{}"));
    fault(plain.url("/").replace("http:", "https:"));
    fault("no address");
    fault("file:///etc/passwd");
}

#[test]
fn a_redirect_within_the_origin_is_followed_a_few_times() {
    let server = Server::new(|asked, stream| {
        let text = match asked.line.split(' ').nth(1) {
            Some("/a") => answer("302 Found", "Location: /b\r\n", ""),
            Some("/b") => answer("307 Temporary Redirect", "Location: /c\r\n", ""),
            Some("/loop") => answer("302 Found", "Location: /loop\r\n", ""),
            _ => answer("200 OK", "", "arrived"),
        };
        let _ = stream.write_all(text.as_bytes());
    });
    assert_eq!(get(server.url("/a")).unwrap().body, b"arrived");
    assert_eq!(fault(server.url("/loop")), "more than 3 redirects");
    let loops = server.asked().iter().filter(|asked| asked.line.contains("/loop")).count();
    assert!(loops <= 5, "{loops} times round");
}

#[test]
fn a_redirect_to_another_origin_is_not_followed() {
    let other = Server::saying(answer("200 OK", "", "{}"));
    let elsewhere = other.url("/stolen");
    for target in
        [elsewhere.clone(), elsewhere.replace("127.0.0.1", "localhost"), elsewhere.replace("http:", "")]
    {
        for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
            let server = Server::saying(answer(status, &format!("Location: {target}\r\n"), "{}"));
            let words = fault(server.url("/"));
            assert!(words.starts_with("a redirect to another origin, http://"), "{status} {target}: {words}");
            assert!(!words.contains("stolen"), "an address may hold a code: {words}");
            let form = Some(Secret::new("code=c"));
            let authorization = Some(Secret::new("Basic YTpi"));
            assert!(
                TRANSPORT
                    .send(&Request { form, authorization, ..Request::get(server.url("/token")) })
                    .is_err()
            );
        }
    }
    // Neither by a detour over the own origin.
    let detour = Server::new(move |asked, stream| {
        let to = if asked.line.contains("/a") { "/b".to_owned() } else { elsewhere.clone() };
        let _ = stream.write_all(answer("302 Found", &format!("Location: {to}\r\n"), "").as_bytes());
    });
    fault(detour.url("/a"));
    assert!(other.asked().is_empty(), "{:?}", other.asked());
}

#[test]
fn a_redirect_to_no_web_or_to_nowhere_is_not_followed() {
    for (status, location, words) in [
        ("302 Found", "Location: file:///etc/passwd\r\n", "another origin, null"),
        ("302 Found", "Location: ftp://127.0.0.1/\r\n", "another origin, ftp://127.0.0.1"),
        ("302 Found", "Location: https://127.0.0.1/\r\n", "another origin, https://127.0.0.1"),
        ("302 Found", "Location: http://[\r\n", "names no address"),
        ("302 Found", "", "names no address"),
        ("304 Not Modified", "", "names no address"),
        ("300 Multiple Choices", "", "names no address"),
    ] {
        let server = Server::saying(answer(status, location, ""));
        let found = fault(server.url("/"));
        assert!(found.contains(words), "{status} {location}: {found}");
        assert_eq!(server.asked().len(), 1);
    }
}

#[test]
fn credentials_that_fit_no_header_are_not_sent() {
    let server = Server::saying(answer("200 OK", "", "{}"));
    let request =
        Request { authorization: Some(Secret::new("Basic a\r\nX: y")), ..Request::get(server.url("/")) };
    let words = TRANSPORT.send(&request).unwrap_err().0;
    assert!(!words.contains("Basic"), "{words}");
    assert!(server.asked().is_empty());
}

#[test]
fn a_bundle_without_a_certificate_is_refused() {
    for pem in ["", "garbage", "-----BEGIN CERTIFICATE-----\ngarbage\n-----END CERTIFICATE-----\n"] {
        assert!(HttpTransport::new(TIMEOUT, Some(pem.as_bytes())).is_err(), "{pem:?}");
    }
}

#[test]
fn several_requests_at_once_do_not_wait_for_each_other() {
    let server = Server::new(|_, stream| {
        std::thread::sleep(Duration::from_millis(500));
        let _ = stream.write_all(answer("200 OK", "", "{}").as_bytes());
    });
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| get(server.url("/")).unwrap());
        }
    });
    assert!(began.elapsed() < Duration::from_millis(2000), "{:?}", began.elapsed());
}
