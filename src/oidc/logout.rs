//! RP-initiated logout (OpenID Connect RP-Initiated Logout 1.0 section 2).

use crate::secret::Secret;
use url::Url;

/// The address that ends the session at the provider and comes back. `None` when the endpoint is not an address.
pub fn url(
    endpoint: &str,
    client_id: &str,
    id_token_hint: Option<&Secret>,
    post_logout_redirect_uri: Option<&str>,
) -> Option<String> {
    let mut url = Url::parse(endpoint).ok()?;
    {
        let mut query = url.query_pairs_mut();
        query.append_pair("client_id", client_id);
        if let Some(hint) = id_token_hint {
            query.append_pair("id_token_hint", hint.expose());
        }
        if let Some(back) = post_logout_redirect_uri {
            query.append_pair("post_logout_redirect_uri", back);
        }
    }
    Some(url.into())
}
