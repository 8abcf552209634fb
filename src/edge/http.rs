//! HTTP to the provider with reqwest and rustls: bounded in time and size, no redirect to another origin.

use crate::oidc::discovery::is_loopback;
use crate::oidc::message::{Request, Response};
use crate::ports::{Cause, Transport, TransportFault};
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, LOCATION,
};
use reqwest::{Certificate, Client, redirect};
use std::sync::OnceLock;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use url::Url;

/// Seconds for name look-up, connection and TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The largest answer, in bytes.
const BODY_LIMIT: usize = 1024 * 1024;
/// How many redirects within one origin are followed.
const REDIRECT_LIMIT: usize = 3;

/// The clients and the little runtime that they need. Nothing of it is built before the first request is sent: reading the
/// system's certificates takes tens of milliseconds, and whoever builds this may be on the event loop.
pub struct HttpTransport {
    certificates: Vec<Certificate>,
    timeout: Duration,
    runtime: OnceLock<Runtime>,
    /// By way of the proxy that the environment names, if it names one.
    client: OnceLock<Client>,
    /// For this machine itself. Plain http is allowed there because nothing leaves the machine; a proxy would be handed
    /// codes and the client secret.
    direct: OnceLock<Client>,
}

impl HttpTransport {
    /// `timeout` bounds the whole answer; `ca_bundle` is PEM to trust beside the system's certificates.
    ///
    /// # Errors
    /// In words, when the bundle cannot be used.
    pub fn new(timeout: Duration, ca_bundle: Option<&[u8]>) -> Result<Self, String> {
        let mut certificates = Vec::new();
        if let Some(pem) = ca_bundle {
            certificates = Certificate::from_pem_bundle(pem).map_err(|error| innermost(&error))?;
            if certificates.is_empty() {
                return Err("no certificate in it".to_owned());
            }
            // A client that trusts these alone reads nothing else, and looks at each of them.
            let trial = Client::builder().no_proxy().tls_certs_only(certificates.clone());
            trial.build().map_err(|error| innermost(&error))?;
        }
        let (runtime, client, direct) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Ok(Self { certificates, timeout, runtime, client, direct })
    }

    fn client(&self, stays_here: bool) -> Result<&Client, TransportFault> {
        let place = if stays_here { &self.direct } else { &self.client };
        if let Some(client) = place.get() {
            return Ok(client);
        }
        let builder = Client::builder()
            .user_agent(concat!("mlflow-oidc/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(within_the_origin())
            .tls_certs_merge(self.certificates.clone());
        let builder = if stays_here { builder.no_proxy() } else { builder };
        // Only what could be built is kept: a machine that has no descriptor left now has one in a minute.
        let client = builder.build().map_err(|error| not_built("HTTP client", &innermost(&error)))?;
        Ok(place.get_or_init(|| client))
    }

    fn runtime(&self) -> Result<&Runtime, TransportFault> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("mlflow-oidc-http")
            .enable_all()
            .build()
            .map_err(|error| not_built("thread for HTTP", &error.to_string()))?;
        Ok(self.runtime.get_or_init(|| runtime))
    }

    async fn exchange(&self, request: &Request) -> Result<Response, TransportFault> {
        let timeout = request.within.map_or(self.timeout, |within| within.min(self.timeout));
        let fault = |error: reqwest::Error| {
            let silent = error.is_timeout() || error.is_connect();
            let cause = if silent { Cause::Silence } else { Cause::Answer };
            TransportFault(describe(&error, timeout), cause)
        };
        let stays_here =
            Url::parse(&request.url).is_ok_and(|url| url.host().is_some_and(|host| is_loopback(&host)));
        let client = self.client(stays_here)?;
        let mut builder = match &request.form {
            None => client.get(&request.url),
            Some(form) => client
                .post(&request.url)
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form.expose().to_owned()),
        };
        builder = builder.header(ACCEPT, "application/json").timeout(timeout);
        if let Some(authorization) = &request.authorization {
            let mut value = HeaderValue::from_str(authorization.expose()).map_err(|_| {
                TransportFault("our credentials do not fit a header".to_owned(), Cause::Answer)
            })?;
            value.set_sensitive(true);
            builder = builder.header(AUTHORIZATION, value);
        }
        let mut answer = builder.send().await.map_err(fault)?;
        let status = answer.status();
        if status.is_redirection() {
            return Err(TransportFault(describe_redirect(answer.url(), answer.headers()), Cause::Answer));
        }
        let content_type = header(answer.headers(), CONTENT_TYPE.as_str())
            .map(|value| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
        let max_age = header(answer.headers(), CACHE_CONTROL.as_str()).and_then(|value| max_age(&value));
        let date = header(answer.headers(), DATE.as_str());
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(fault)? {
            if body.len() + chunk.len() > BODY_LIMIT {
                return Err(TransportFault(
                    format!("an answer of more than {BODY_LIMIT} bytes"),
                    Cause::Answer,
                ));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response { status: status.as_u16(), content_type, max_age, date, body })
    }
}

impl Transport for HttpTransport {
    fn send(&self, request: &Request) -> Result<Response, TransportFault> {
        self.runtime()?.block_on(self.exchange(request))
    }
}

fn not_built(what: &str, reason: &str) -> TransportFault {
    TransportFault(format!("no {what}: {reason}"), Cause::Silence)
}

/// A redirect elsewhere could hand a code and our secret to a stranger, or reach into the inner network.
fn within_the_origin() -> redirect::Policy {
    redirect::Policy::custom(|attempt| {
        let same = attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin());
        if same && attempt.previous().len() <= REDIRECT_LIMIT { attempt.follow() } else { attempt.stop() }
    })
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// `max-age` of a `Cache-Control` that allows keeping (RFC 9111 section 5.2.2).
fn max_age(value: &str) -> Option<i64> {
    let directives: Vec<&str> = value.split(',').map(str::trim).collect();
    if directives.iter().any(|d| d.eq_ignore_ascii_case("no-store") || d.eq_ignore_ascii_case("no-cache")) {
        return None;
    }
    directives
        .iter()
        .find_map(|d| d.to_ascii_lowercase().strip_prefix("max-age=")?.trim_matches('"').parse().ok())
}

/// Why an answer that sends us on was not followed, with no more of the address than its origin.
fn describe_redirect(from: &Url, headers: &HeaderMap) -> String {
    let target = header(headers, LOCATION.as_str()).and_then(|to| from.join(&to).ok());
    match target.map(|to| to.origin()) {
        None => "a redirect that names no address".to_owned(),
        Some(origin) if origin == from.origin() => format!("more than {REDIRECT_LIMIT} redirects"),
        Some(origin) => {
            format!("a redirect to another origin, {}, which is not followed", origin.ascii_serialization())
        }
    }
}

/// What failed, without the address (it may hold a code) and without our own headers.
fn describe(error: &reqwest::Error, timeout: Duration) -> String {
    if error.is_timeout() {
        return if error.is_connect() {
            format!("no connection within {} s", CONNECT_TIMEOUT.as_secs())
        } else {
            format!("no answer within {} s", timeout.as_secs())
        };
    }
    if error.is_connect() {
        return format!("no connection: {}", innermost(error));
    }
    format!("no usable answer: {}", innermost(error))
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
