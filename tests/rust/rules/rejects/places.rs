//! The places where a row is tried: what is done there, and what is expected beside the code.

use super::asking::{PATH, asked, is_page};
use super::case::Case;
use super::held::{self, Form};
use super::table::status_of;
use super::token::{self, Kind};
use super::values::percent_encoded;
use crate::support::{Ask, Browser};
use mlflow_oidc::app::doctor::Provider;
use mlflow_oidc::error::{Code, Party};
use mlflow_oidc::ports::Clock as _;
use mlflow_oidc::secret::Secret;

/// One place.
pub struct Place {
    pub name: &'static str,
    /// The members of a row that mean something here.
    pub members: &'static [&'static [&'static str]],
    pub run: fn(&mut Case<'_>) -> Result<(), String>,
}

const TOKENS: &[&str] = &["access_token", "token_answer", "drop_token_answer"];
const USERINFO: &[&str] = &["userinfo", "drop_userinfo"];
const COOKIE: &[&str] = &["cookie", "cookie_finish", "request", "changes"];

pub const PLACES: &[Place] = &[
    Place { name: "bearer", members: &[token::MEMBERS], run: bearer },
    Place { name: "id_token", members: &[token::MEMBERS, TOKENS], run: login },
    Place { name: "token_answer", members: &[token::MEMBERS, TOKENS], run: login },
    Place { name: "refresh", members: &[token::MEMBERS, TOKENS, USERINFO, &["changes"]], run: refresh },
    Place { name: "userinfo", members: &[token::MEMBERS, TOKENS, USERINFO], run: userinfo },
    Place { name: "logout_token", members: &[token::MEMBERS], run: logout_token },
    Place { name: "keys", members: &[token::MEMBERS], run: bearer },
    Place { name: "metadata", members: &[token::MEMBERS], run: metadata },
    Place { name: "callback", members: &[&["query"]], run: callback },
    Place { name: "cookie", members: &[COOKIE], run: cookie },
    Place { name: "next", members: &[&["next"]], run: next },
    Place { name: "request", members: &[&["request"]], run: request },
];

/// The place of that name.
pub fn place(name: &str) -> &'static Place {
    PLACES.iter().find(|place| place.name == name).unwrap_or_else(|| panic!("no place is called {name}"))
}

/// The status of the code, unless the row says another one.
fn status(case: &Case<'_>) -> u16 {
    let told = case.row.get("status").map(|status| u16::try_from(status.as_u64().unwrap()).unwrap());
    told.unwrap_or_else(|| status_of(case.row.code()))
}

/// The same at the end of a login: a bad token that the provider itself has sent is no 401.
fn status_of_login(case: &Case<'_>) -> u16 {
    if case.row.code().starts_with("token_") && case.row.get("status").is_none() {
        return 502;
    }
    status(case)
}

fn bearer(case: &mut Case<'_>) -> Result<(), String> {
    case.prepare();
    let token = token::spoilt(case.row, Kind::Bearer, &case.names);
    let before = case.tables();
    let answered = Ask::get(PATH).bearer(&token).of(&case.world);
    held::outcome(&answered, status(case), case.row.code(), Form::Json)?;
    held::no_cookie(&answered)?;
    held::tables(case, &before)?;
    held::no_leak(case, &[&token], &answered)?;
    doctor(case, &token)
}

/// What MLflow's database says is not looked at by the doctor, and it waits for a provider for as long as that may take.
const BEYOND_THE_DOCTOR: &[&str] =
    &["username_taken", "account_protected", "database_unavailable", "provider_pending"];

/// `mlflow-oidc doctor` says of a token what the server says, without any part of it.
fn doctor(case: &Case<'_>, token: &str) -> Result<(), String> {
    let config = case.config();
    let provider = Provider::ask(&config, &*case.world.provider);
    let told = provider.judge(&config, case.world.clock.now(), &Secret::new(token));
    let code = told["code"].as_str().unwrap_or("nothing");
    if code != case.row.code() && !BEYOND_THE_DOCTOR.contains(&case.row.code()) {
        return Err(format!("{code} from the doctor"));
    }
    let printed = [told, provider.metadata(), provider.keys()].map(|value| value.to_string()).concat();
    match token.split('.').find(|part| part.len() > 16 && printed.contains(part)) {
        Some(part) => Err(format!("{part} from the doctor")),
        None => Ok(()),
    }
}

fn metadata(case: &mut Case<'_>) -> Result<(), String> {
    bearer(case)?;
    let answered = case.browser.open(&case.world, "/oidc/login?next=/&go=1");
    held::outcome(&answered, status(case), case.row.code(), Form::Page)?;
    held::no_cookie(&answered)?;
    // Whatever such a document points to may be anybody's.
    let asked = case.world.provider.asked();
    match asked.iter().find(|request| !request.url.ends_with("/.well-known/openid-configuration")) {
        Some(request) => Err(format!("{} was asked", request.url)),
        None => Ok(()),
    }
}

fn login(case: &mut Case<'_>) -> Result<(), String> {
    case.begin();
    case.prepare();
    let id_token = token::spoilt(case.row, Kind::Id, &case.names);
    end_login(case, id_token)
}

fn userinfo(case: &mut Case<'_>) -> Result<(), String> {
    case.begin();
    case.prepare();
    let id_token = token::spoilt(case.row, Kind::BareId, &case.names);
    case.script_userinfo();
    end_login(case, id_token)?;
    match case.world.provider.count("/userinfo") {
        1 => Ok(()),
        count => Err(format!("userinfo was asked {count} times")),
    }
}

/// The answer is the same whatever the check: the browser has to go to the provider. Which check it was is for the log.
fn refresh(case: &mut Case<'_>) -> Result<(), String> {
    case.sign_in_long_ago();
    case.prepare();
    let id_token = token::spoilt(case.row, Kind::Refreshed, &case.names);
    case.script_userinfo();
    case.script_token_answer(id_token.clone());
    let before = case.tables();
    let cookie = case.names.get("cookie").to_owned();
    let answered = Ask::get(PATH).cookie(&cookie).of(&case.world);
    let code = if case.row.code() == "session_ended" { "session_ended" } else { "session_recheck" };
    held::outcome(&answered, status_of(code), code, Form::Json)?;
    held::no_cookie(&answered)?;
    held::tables(case, &before)?;
    held::no_leak(case, &[&id_token], &answered)?;
    let log = case.world.log.text();
    let told = format!(": {}: expected", case.row.code());
    if log.contains(&told) { Ok(()) } else { Err(format!("the log does not say why: {log}")) }
}

fn end_login(case: &mut Case<'_>, id_token: String) -> Result<(), String> {
    case.script_token_answer(id_token.clone());
    let before = case.tables();
    let path = format!("/oidc/callback?code=good-code&state={}", case.names.get("state"));
    let answered = case.browser.open(&case.world, &path);
    held::outcome(&answered, status_of_login(case), case.row.code(), Form::Page)?;
    held::tables(case, &before)?;
    held::no_leak(case, &[&id_token], &answered)?;
    held::used_up(case, &path)
}

fn logout_token(case: &mut Case<'_>) -> Result<(), String> {
    if case.row.get("before").is_none() {
        case.sign_in();
    }
    case.prepare();
    let token = token::spoilt(case.row, Kind::Logout, &case.names);
    let before = case.tables();
    let form = format!("logout_token={}", percent_encoded(&token));
    let answered = Ask::post("/oidc/backchannel-logout").body(&form).of(&case.world);
    let code = Code::ALL.iter().find(|code| code.name() == case.row.code()).unwrap();
    // Back-Channel Logout 1.0 section 2.8.
    let expected = if code.party() == Party::Caller { 400 } else { status(case) };
    held::outcome(&answered, expected, case.row.code(), Form::Json)?;
    held::no_cookie(&answered)?;
    held::tables(case, &before)?;
    held::no_leak(case, &[&token], &answered)
}

fn callback(case: &mut Case<'_>) -> Result<(), String> {
    case.begin();
    let before_all = case.browser.clone();
    case.prepare();
    let query = case.row.get("query").map_or_else(
        || format!("code=good-code&state={}", case.names.get("state")),
        |query| case.names.text(query),
    );
    let before = case.tables();
    let exchanges = case.world.provider.count("/token");
    let path = format!("/oidc/callback?{query}");
    let mut browser = case.bringer.clone().unwrap_or_else(|| case.browser.clone());
    let answered = browser.open(&case.world, &path);
    held::outcome(&answered, status(case), case.row.code(), Form::Page)?;
    held::tables(case, &before)?;
    held::no_leak(case, &[], &answered)?;
    if case.world.provider.count("/token") != exchanges {
        return Err("a code went to the token endpoint".to_owned());
    }
    case.let_the_crowd_go();
    let spent_nothing = ["callback_malformed", "login_unknown", "provider_busy"];
    if !spent_nothing.contains(&case.row.code()) {
        case.browser = browser;
        return held::used_up(case, &path);
    }
    held::no_cookie(&answered)?;
    if case.browser.cookie == before_all.cookie {
        let ended = case.come_back_well();
        if ended.status() != 302 {
            return Err(format!("the login that was begun is not good any more: {:?}", ended.outcome()));
        }
    }
    Ok(())
}

fn cookie(case: &mut Case<'_>) -> Result<(), String> {
    if case.row.get("before").is_none() {
        case.sign_in();
    }
    case.prepare();
    let edits = case.row.list("cookie_finish").iter();
    let value = edits.fold(case.names.get("cookie_value").to_owned(), |old, edit| {
        token::edited(&old, &case.names.value(edit))
    });
    let name = case.names.get("cookie").split_once('=').unwrap().0.to_owned();
    case.names.set("cookie", format!("{name}={value}"));
    case.names.set("cookie_value", value.clone());
    let header = case
        .row
        .get("cookie")
        .map_or_else(|| case.names.get("cookie").to_owned(), |header| case.names.text(header));
    let before = case.tables();
    let answered = asked(case, |ask| ask.cookie(&header));
    let form = if is_page(case) { Form::Page } else { Form::Json };
    held::outcome(&answered, status(case), case.row.code(), form)?;
    held::no_cookie(&answered)?;
    held::tables(case, &before)?;
    held::no_leak(case, &[&value], &answered)
}

fn request(case: &mut Case<'_>) -> Result<(), String> {
    case.prepare();
    let before = case.tables();
    let answered = asked(case, |ask| ask);
    let form = if is_page(case) { Form::Page } else { Form::Json };
    held::outcome(&answered, status(case), case.row.code(), form)?;
    held::no_cookie(&answered)?;
    held::tables(case, &before)?;
    held::no_leak(case, &[], &answered)
}

fn next(case: &mut Case<'_>) -> Result<(), String> {
    let next = percent_encoded(&case.names.text(case.row.get("next").unwrap()));
    let answered = Browser::default().open(&case.world, &format!("/oidc/login?next={next}"));
    if answered.status() != 200 || case.row.code() != "start_page" {
        return Err(format!("{:?}", answered.outcome()));
    }
    held::no_cookie(&answered)?;
    if !answered.body().contains("href=\"/oidc/login?next=%2F&amp;go=1\"") {
        return Err(format!("the page leads elsewhere: {}", answered.body()));
    }
    Ok(())
}
