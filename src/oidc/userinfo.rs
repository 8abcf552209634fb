//! The UserInfo request and its answer (OpenID Connect Core section 5.3): claims that the ID token does not carry.

use super::claims;
use super::message::{Request, Response};
use crate::error::{Code, Error, Result, quote};
use crate::jose::Object;
use crate::secret::Secret;

/// The request, with the access token as a bearer (Core section 5.3.1, RFC 6750 section 2.1).
pub fn request(endpoint: &str, access_token: &Secret) -> Request {
    let authorization = Secret::new(format!("Bearer {}", access_token.expose()));
    Request { authorization: Some(authorization), ..Request::get(endpoint) }
}

/// Judges the answer for the user whom the ID token names.
///
/// # Errors
/// `provider_error`, `provider_answer` (a signed or encrypted answer too: we never ask for one), `userinfo_subject`:
/// without the comparison of `sub` an access token of somebody else, put beside the ID token, would lend their claims
/// (the token substitution attack, Core section 5.3.4).
pub fn judge(response: &Response, subject: &str) -> Result<Object> {
    let info = response.json("userinfo answer")?;
    let wrong = |found: String| Error::new(Code::UserinfoSubject, format!("'sub' {}", quote(subject)), found);
    match claims::optional_text(&info, "sub") {
        Ok(Some(found)) if found == subject => Ok(info),
        Ok(Some(found)) => Err(wrong(quote(found))),
        _ => Err(wrong(claims::describe(info.get("sub")))),
    }
}
