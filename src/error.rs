//! What can go wrong: who is guilty, a stable code, what was expected and what was found.
//!
//! Nothing here knows HTTP or Python; `app::answer` turns an [`Error`] into a reply, in one table.

use icu_properties::CodePointSetData;
use icu_properties::props::DefaultIgnorableCodePoint;
use std::borrow::Cow;
use std::fmt;

/// Who has to act for the request to succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Party {
    /// The program or browser that sent the request.
    Caller,
    /// The OpenID provider, or the network between it and us.
    Provider,
    /// Whoever configured MLflow and this function.
    Operator,
    /// MLflow's database or our own tables beside it.
    Database,
    /// This program.
    Us,
}

macro_rules! codes {
    ($($variant:ident $name:literal $party:ident $sentence:literal;)*) => {
        /// The catalogue of refusals. The name is public and stable; words may change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $(#[doc = $sentence] $variant,)* }

        impl Code {
            /// Every code, in the order of the catalogue.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)*];

            /// The stable name.
            pub const fn name(self) -> &'static str {
                match self { $(Code::$variant => $name,)* }
            }

            /// Who has to act.
            pub const fn party(self) -> Party {
                match self { $(Code::$variant => Party::$party,)* }
            }

            /// One sentence for people: what happened and, where it helps, what to do.
            pub const fn sentence(self) -> &'static str {
                match self { $(Code::$variant => $sentence,)* }
            }
        }
    };
}

codes! {
    NoCredentials "no_credentials" Caller "You are not signed in. Programs send 'Authorization: Bearer <JWT>' (MLFLOW_TRACKING_TOKEN); people open MLflow in a browser.";
    SessionEnded "session_ended" Caller "Your session has ended. Sign in again.";
    SessionRecheck "session_recheck" Caller "Your provider has to say again that you may use MLflow. Reload the page: that is all it takes while you are signed in there.";
    CookieAmbiguous "cookie_ambiguous" Caller "Your browser sent two sessions of this site, and nobody can tell which one is yours. Delete the cookies of this site and sign in again.";
    AuthorizationScheme "authorization_scheme" Caller "This Authorization scheme is not supported. Send 'Bearer <JWT>'.";
    BasicAuthDisabled "basic_auth_disabled" Caller "User names and passwords are switched off on this server. Send 'Bearer <JWT>'.";
    AccountWithoutPassword "account_without_password" Caller "This account signs in at the provider and has no password. Send 'Bearer <JWT>'.";
    TokenTooLarge "token_too_large" Caller "The token is too large.";
    TokenMalformed "token_malformed" Caller "The bearer token is not a signed JWT.";
    TokenEncrypted "token_encrypted" Caller "The token is encrypted (JWE); a signed JWT is needed.";
    TokenHeader "token_header" Caller "The header of the token asks for something that is not supported.";
    TokenAlgorithm "token_algorithm" Caller "The token is signed with an algorithm that is not allowed.";
    TokenType "token_type" Caller "This kind of token cannot be used here.";
    TokenKeyUnknown "token_key_unknown" Caller "The token is signed with a key that the provider does not publish.";
    TokenSignature "token_signature" Caller "The signature of the token is not valid.";
    TokenIssuer "token_issuer" Caller "The token was issued by another provider.";
    TokenAudience "token_audience" Caller "The token was issued for another application: its 'aud' does not name this one (in Keycloak, the mapper 'Audience' of the client that gets the token puts it there).";
    TokenAuthorizedParty "token_authorized_party" Caller "The token was issued to another client.";
    TokenExpired "token_expired" Caller "The token has expired. Get a new one.";
    TokenNotYetValid "token_not_yet_valid" Caller "The token is not valid yet.";
    TokenIssuedAt "token_issued_at" Caller "The token says it was issued in the future.";
    TokenSubject "token_subject" Caller "The token does not say who it is for (sub).";
    TokenClaim "token_claim" Caller "A claim of the token is missing or has the wrong form.";
    TokenNonce "token_nonce" Caller "The ID token belongs to another login.";
    TokenAtHash "token_at_hash" Caller "The ID token does not belong to the access token beside it.";
    UsernameMissing "username_missing" Caller "The token does not carry the claim that names the user.";
    UsernameInvalid "username_invalid" Caller "The user name in the token cannot be used.";
    EmailUnverified "email_unverified" Caller "The provider has not verified this e-mail address.";
    GroupsMissing "groups_missing" Caller "You are in no group, or the provider does not say which ones you are in, so membership cannot be checked.";
    GroupsOverage "groups_overage" Caller "You are in more groups than your provider puts into a token, so membership cannot be checked.";
    GroupRequired "group_required" Caller "You are signed in, but not a member of a group that may use this MLflow.";
    UsernameTaken "username_taken" Caller "This user name already belongs to somebody else in MLflow.";
    AccountProtected "account_protected" Caller "This MLflow account is a local administrator and is not handed over.";
    CrossOrigin "cross_origin" Caller "A change was asked for by a page of another origin.";
    HostInvalid "host_invalid" Caller "The Host header is not the name of a host.";
    MethodNotAllowed "method_not_allowed" Caller "This address does not answer this method.";
    LoginUnknown "login_unknown" Caller "This login was not begun here, or is already finished. Sign in again.";
    LoginExpired "login_expired" Caller "The login took too long. Sign in again.";
    LoginDenied "login_denied" Caller "The provider did not let you in.";
    CallbackMalformed "callback_malformed" Caller "The answer that your browser brought from the provider cannot be read.";
    CallbackIssuer "callback_issuer" Caller "The answer that your browser brought comes from another provider.";
    UserinfoSubject "userinfo_subject" Provider "The provider's answer about the user is about somebody else.";
    ProviderError "provider_error" Provider "The provider answered with an error.";
    ProviderAnswer "provider_answer" Provider "The provider's answer cannot be used.";
    ProviderUnreachable "provider_unreachable" Provider "The OpenID provider cannot be reached now. Try again in a moment.";
    ProviderPending "provider_pending" Provider "The answer is still being fetched. Try again in a moment.";
    ProviderBusy "provider_busy" Provider "Too many requests are waiting for the OpenID provider. Try again in a moment.";
    DatabaseUnavailable "database_unavailable" Database "The database of users cannot be asked now. Try again in a moment.";
    Configuration "configuration" Operator "Single sign-on is not configured correctly, so nobody is let in.";
    PublicUrlUnknown "public_url_unknown" Operator "The server does not know its own address. Set OIDC_PUBLIC_URL.";
    Internal "internal" Us "The request could not be checked because of a fault in mlflow-oidc.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A refusal: its [`Code`], what was expected and what was found.
///
/// `found` is made safe for logs and pages by [`quote`]; a token or secret is never put into one.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{code}: expected {expected}, found {found}")]
pub struct Error {
    /// The stable code.
    pub code: Code,
    /// What would have been accepted.
    pub expected: Cow<'static, str>,
    /// What came instead.
    pub found: Cow<'static, str>,
    /// Who has to act; the catalogue's party unless somebody else brought the bad input.
    pub party: Party,
}

/// The result of everything that can be refused.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A refusal with both sides told.
    pub fn new(
        code: Code,
        expected: impl Into<Cow<'static, str>>,
        found: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { code, expected: expected.into(), found: found.into(), party: code.party() }
    }

    /// The same refusal with another party at fault: a bad ID token is not the doing of the person who logs in.
    #[must_use]
    pub fn by(self, party: Party) -> Self {
        Self { party, ..self }
    }

    /// A fault of our own that no input should be able to cause.
    pub fn internal(found: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::Internal, "no fault", found)
    }
}

/// The longest piece of foreign text, in characters, that is repeated in an error.
const QUOTE_LIMIT: usize = 160;

/// Foreign text made fit for one line of a log or a page: control characters escaped, length bounded.
///
/// Log injection (a forged second line) and terminal escapes stop here.
pub fn quote(text: &str) -> String {
    // Most texts are harmless, and one look at all their bytes is quicker than a question about each character.
    let harmless = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'\'' | b'\\');
    if text.len() <= QUOTE_LIMIT && text.bytes().all(harmless) {
        return format!("'{text}'");
    }
    let mut out = String::with_capacity(text.len().min(QUOTE_LIMIT) + 2);
    out.push('\'');
    for (count, c) in text.chars().enumerate() {
        if count == QUOTE_LIMIT {
            out.push('…');
            break;
        }
        match c {
            '\'' | '\\' => out.extend(['\\', c]),
            c if c.is_control() || is_invisible(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out.push('\'');
    out
}

/// Characters that take part in a line without being seen: bidirectional marks, joiners, fillers, separators.
pub fn is_invisible(c: char) -> bool {
    // Unicode's own list lacks the separators, the marks of annotations, and the blanks that count as symbol, letter or mark:
    // those of braille, of hieroglyphs and of Khitan.
    CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
        || matches!(
            c,
            '\u{2028}' | '\u{2029}' | '\u{2800}' | '\u{FFF0}'
                ..='\u{FFFB}' | '\u{13441}' | '\u{13442}' | '\u{16FE4}'
        )
}
