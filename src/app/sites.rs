//! The addresses that this MLflow has for browsers: one from the settings, or one for each host that may be named.

use super::wire::Request;
use crate::config::{Place, Site};
use crate::error::Result;
use crate::session::cookie;
use quick_cache::sync::Cache;
use std::sync::Arc;

/// How many addresses are kept, for each scheme; only hosts that may be named come in.
const REMEMBERED: usize = 64;

/// The addresses known so far, and the name of the cookie, which is the same at all of them.
pub struct Sites {
    fixed: Option<Arc<Site>>,
    plain: Cache<Box<str>, Arc<Site>>,
    secure: Cache<Box<str>, Arc<Site>>,
    pub cookie_name: &'static str,
}

impl Sites {
    pub fn new(place: &Place) -> Self {
        // Without a fixed address the same worker may see http and https, so the name must not depend on it.
        let prefixed = place.site.as_ref().is_some_and(Site::is_https);
        let base = place.site.as_ref().map_or(place.prefix.as_str(), |site| site.base.as_str());
        Self {
            cookie_name: cookie::name(base, prefixed),
            fixed: place.site.clone().map(Arc::new),
            plain: Cache::new(REMEMBERED),
            secure: Cache::new(REMEMBERED),
        }
    }

    /// The address for a request.
    ///
    /// # Errors
    /// `public_url_unknown`.
    pub fn of(&self, place: &Place, request: &Request<'_>) -> Result<Arc<Site>> {
        if let Some(site) = &self.fixed {
            return Ok(Arc::clone(site));
        }
        let known = if request.scheme == "https" { &self.secure } else { &self.plain };
        if let Some(site) = known.get(request.host) {
            return Ok(site);
        }
        let site = Arc::new(place.site(request.scheme, request.host)?);
        known.insert(request.host.into(), Arc::clone(&site));
        Ok(site)
    }
}
