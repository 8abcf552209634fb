//! Groups that have no room in a token of Entra ID, asked of Microsoft Graph with the access token of the login
//! (`GET /me/transitiveMemberOf`, delegated permission User.Read).

use super::claims;
use super::message::{Request, Response};
use crate::error::{Code, Error, Result};
use crate::secret::Secret;
use serde_json::Value;

/// How many pages of a thousand are read. Entra ID lets a user be in 2,048 groups of its own, and more by other groups.
pub const PAGES: usize = 11;

/// The first request. Directory roles and administrative units come as well; [`judge`] leaves them out.
pub fn request(graph: &str, access_token: &Secret) -> Request {
    page(&format!("{graph}/v1.0/me/transitiveMemberOf?$select=id&$top=999"), access_token)
}

/// A request for a page.
pub fn page(url: &str, access_token: &Secret) -> Request {
    let authorization = Secret::new(format!("Bearer {}", access_token.expose()));
    Request { authorization: Some(authorization), ..Request::get(url) }
}

/// One answer: the ids of groups, and where the next page is.
#[derive(Debug)]
pub struct Page {
    /// Object ids, as they stand in the claim `groups`.
    pub groups: Vec<String>,
    /// The address of the next page.
    pub next: Option<String>,
}

/// Judges an answer.
///
/// # Errors
/// `provider_error` (403: the permission is missing), `provider_answer`: no list, or a next page elsewhere, where the token
/// must not be sent.
pub fn judge(graph: &str, response: &Response) -> Result<Page> {
    let document = response.json("groups from Microsoft Graph")?;
    let fault = |expected: &'static str, found: &Value| {
        Error::new(Code::ProviderAnswer, expected, claims::describe(Some(found)))
    };
    let list = document.get("value").unwrap_or(&Value::Null);
    let entries = list.as_array().ok_or_else(|| fault("'value' as a list of groups", list))?;
    let groups = entries
        .iter()
        .filter(|entry| entry.get("@odata.type").and_then(Value::as_str) == Some("#microsoft.graph.group"))
        .map(|entry| {
            let id = entry.get("id").and_then(Value::as_str);
            id.map(str::to_owned).ok_or_else(|| fault("'id' of a group as text", entry))
        })
        .collect::<Result<_>>()?;
    let next = match document.get("@odata.nextLink") {
        None | Some(Value::Null) => None,
        Some(Value::String(link)) if link.starts_with(&format!("{graph}/")) => Some(link.clone()),
        Some(other) => return Err(fault("'@odata.nextLink' at Microsoft Graph", other)),
    };
    Ok(Page { groups, next })
}
