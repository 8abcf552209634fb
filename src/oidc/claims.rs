//! Reading claims: one way to read a time, a text and an audience.

use crate::error::{Code, Error, Result, quote};
use crate::jose::Object;
use serde_json::Value;

/// The latest time that is taken for one: the year 9999, in seconds since 1970.
const TIME_LIMIT: i64 = 253_402_300_799;

/// A required text claim that is not empty.
///
/// # Errors
/// `code` when it is absent, empty or not text.
pub fn required_text<'a>(claims: &'a Object, name: &str, code: Code) -> Result<&'a str> {
    match claims.get(name) {
        Some(Value::String(value)) if !value.is_empty() => Ok(value),
        other => Err(Error::new(code, format!("'{name}' as text"), describe(other))),
    }
}

/// An optional text claim.
///
/// # Errors
/// `token_claim` when it is there and not text.
pub fn optional_text<'a>(claims: &'a Object, name: &'static str) -> Result<Option<&'a str>> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(value)) => Ok(Some(value)),
        other => Err(Error::new(Code::TokenClaim, format!("'{name}' as text"), describe(other))),
    }
}

/// An optional time claim, in seconds since 1970 (NumericDate, RFC 7519 section 2; whole seconds only).
///
/// # Errors
/// `token_claim` when it is there and not a sane whole number.
pub fn optional_time(claims: &Object, name: &'static str) -> Result<Option<i64>> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    match value.as_i64() {
        Some(time) if (0..=TIME_LIMIT).contains(&time) => Ok(Some(time)),
        _ => Err(Error::new(
            Code::TokenClaim,
            format!("'{name}' in whole seconds since 1970"),
            describe(Some(value)),
        )),
    }
}

/// A required time claim.
///
/// # Errors
/// `token_claim` when it is absent or not a sane whole number.
pub fn required_time(claims: &Object, name: &'static str) -> Result<i64> {
    optional_time(claims, name)?
        .ok_or_else(|| Error::new(Code::TokenClaim, format!("'{name}' in whole seconds since 1970"), "none"))
}

/// The audience: one text or a list of texts (RFC 7519 section 4.1.3).
///
/// # Errors
/// `token_audience` when it is absent, empty or of another form.
pub fn audience(claims: &Object) -> Result<Vec<&str>> {
    let fault =
        || Error::new(Code::TokenAudience, "'aud' as text or a list of texts", describe(claims.get("aud")));
    match claims.get("aud") {
        Some(Value::String(one)) => Ok(vec![one]),
        Some(Value::Array(many)) if !many.is_empty() => {
            many.iter().map(|item| item.as_str().ok_or_else(fault)).collect()
        }
        _ => Err(fault()),
    }
}

/// Checks `iss` (RFC 7519 section 4.1.1) against the names of the one provider: equality of text, nothing cleverer.
///
/// # Errors
/// `token_issuer`.
pub fn check_issuer(claims: &Object, issuers: &[String]) -> Result<()> {
    let found = required_text(claims, "iss", Code::TokenIssuer)?;
    if issuers.iter().any(|name| name == found) {
        return Ok(());
    }
    Err(Error::new(Code::TokenIssuer, quote(&issuers.join(", ")), quote(found)))
}

/// Checks `exp`, `nbf` and `iat` (RFC 7519 sections 4.1.4 to 4.1.6) and returns `exp`. Times in seconds.
///
/// # Errors
/// `token_claim`, `token_expired`, `token_not_yet_valid`, `token_issued_at`.
pub fn check_times(claims: &Object, now: i64, skew: i64) -> Result<i64> {
    let expires = required_time(claims, "exp")?;
    check_expiry(expires, now, skew)?;
    check_begun(claims, now, skew)?;
    Ok(expires)
}

/// Checks `nbf` and `iat` alone (RFC 7519 sections 4.1.5 and 4.1.6). Times in seconds.
///
/// # Errors
/// `token_claim`, `token_not_yet_valid`, `token_issued_at`.
pub fn check_begun(claims: &Object, now: i64, skew: i64) -> Result<()> {
    if let Some(not_before) = optional_time(claims, "nbf")?
        && not_before > now.saturating_add(skew)
    {
        return Err(Error::new(
            Code::TokenNotYetValid,
            format!("'nbf' not after {now}"),
            not_before.to_string(),
        ));
    }
    if let Some(issued) = optional_time(claims, "iat")?
        && issued > now.saturating_add(skew)
    {
        return Err(Error::new(Code::TokenIssuedAt, format!("'iat' not after {now}"), issued.to_string()));
    }
    Ok(())
}

/// Checks `exp` alone (RFC 7519 section 4.1.4). Times in seconds.
///
/// # Errors
/// `token_expired`.
pub fn check_expiry(expires: i64, now: i64, skew: i64) -> Result<()> {
    if now < expires.saturating_add(skew) {
        return Ok(());
    }
    Err(Error::new(
        Code::TokenExpired,
        format!("'exp' after {now}"),
        format!("{expires}, {} s ago", now.saturating_sub(expires)),
    ))
}

/// The subject: the provider's own name for the user, at most 255 bytes (OpenID Connect Core section 2). It is `sub`, where
/// nothing else is asked for.
///
/// # Errors
/// `token_subject`.
pub fn subject<'a>(claims: &'a Object, name: &str) -> Result<&'a str> {
    let subject = required_text(claims, name, Code::TokenSubject)?;
    if subject.len() > 255 {
        return Err(Error::new(
            Code::TokenSubject,
            format!("'{name}' of at most 255 bytes"),
            format!("{} bytes", subject.len()),
        ));
    }
    Ok(subject)
}

/// What a claim is, in words that do not repeat its value.
pub fn describe(value: Option<&Value>) -> String {
    match value {
        None => "none".into(),
        Some(Value::Null) => "null".into(),
        Some(Value::Bool(_)) => "a boolean".into(),
        Some(Value::Number(number)) => format!("the number {number}"),
        Some(Value::String(text)) if text.is_empty() => "an empty text".into(),
        Some(Value::String(_)) => "a text".into(),
        Some(Value::Array(items)) => format!("a list of {}", items.len()),
        Some(Value::Object(_)) => "an object".into(),
    }
}

/// A claim by its own name (`https://example.com/groups`), else by a dotted path (`realm_access.roles`), whose members may have
/// dots in their own names (`resource_access.my.client.roles`). The shortest members come first. A member without a value
/// (`null`) is none, and hides a path of the same name.
pub fn lookup<'a>(claims: &'a Object, name: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(name) {
        return Some(value).filter(|value| !value.is_null());
    }
    name.match_indices('.')
        .find_map(|(dot, _)| lookup(claims.get(&name[..dot])?.as_object()?, &name[dot + 1..]))
}

/// Claims and, where they are silent, those of these names from another place. What the first say always stands: a name is
/// looked up in the one before the other, never in a mixture, in which a top-level `realm_access.roles` of the second would go
/// before the path of that name in the first.
pub fn complete(first: &Object, second: &Object, names: &[&str]) -> Object {
    let mut claims = first.clone();
    // An address and whether it was verified are one statement.
    let address = lookup(first, "email");
    let same_address = address.is_none_or(|email| second.get("email") == Some(email));
    for vouching in ["email_verified", "xms_edov"] {
        if address.is_none() {
            claims.remove(vouching);
        }
        if let Some(verified) = second.get(vouching).filter(|_| same_address) {
            claims.entry(vouching).or_insert_with(|| verified.clone());
        }
    }
    for name in names {
        if lookup(first, name).is_none()
            && let Some(value) = lookup(second, name)
        {
            claims.insert((*name).to_owned(), value.clone());
        }
    }
    claims
}
