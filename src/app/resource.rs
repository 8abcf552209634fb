//! Protected resource metadata (RFC 9728): lets clients find the issuer by themselves.

use super::App;
use super::wire::{Decision, Reply, Request};
use crate::error::Result;
use serde_json::json;

/// The well-known path, below the public base.
pub const PATH: &str = "/.well-known/oauth-protected-resource";

/// The document.
pub fn handle(app: &App, request: &Request<'_>) -> Result<Decision> {
    let site = app.site(request)?;
    let document = json!({
        "resource": site.url("/"),
        "authorization_servers": [app.config.issuer],
        "bearer_methods_supported": ["header"],
        "resource_name": "MLflow",
    });
    Ok(Decision::Reply(Reply::json(200, &document)))
}
