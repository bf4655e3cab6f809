//! Requests for a list of peers.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::object::{Object, integer, string, strings};
use crate::{Archetype, Invalid, PeerId, Refusal};

/// The order of a list, and whether it is complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// A uniform random sample, drawn independently for each request. This is the API's default, so
    /// a request for it is sent without `order`. The service then applies its operator's default
    /// order, which may be `Diverse`.
    #[default]
    Sample,
    /// A random sample, drawn independently for each request. Half of it is uniform, and half is
    /// drawn from different networks, so that a network with many peers does not fill it.
    Diverse,
    /// An enumeration of all matching peers, page by page.
    All,
}

impl Order {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_sample(&self) -> bool {
        *self == Self::Sample
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Sample => "sample",
            Self::Diverse => "diverse",
            Self::All => "all",
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "sample" => Ok(Self::Sample),
            "diverse" => Ok(Self::Diverse),
            "all" => Ok(Self::All),
            _ => Err(Invalid::rule("must be sample, diverse or all")),
        }
    }
}

/// The representation of each peer in a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum View {
    /// The legacy view: exactly six keys, because an extra key breaks legacy clients.
    #[default]
    Legacy,
    /// The full view: also `expires_in_seconds` and `registered_seconds_ago`, and `signed` if the
    /// peer signed its registration.
    Full,
    /// The contact view: `peer_id`, `address` and `port` only, for clients that need small
    /// responses.
    Contact,
    /// The full view, for callers that are not peers, such as monitoring. A page in any other view
    /// marks its peers as discovered, and a page in this view does not.
    Observer,
}

impl View {
    /// Whether peers have the keys of the full view.
    pub const fn is_full(self) -> bool {
        matches!(self, Self::Full | Self::Observer)
    }

    /// Whether the view is the default. Requests do not name the default view, because older
    /// services call it `seed`.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_legacy(&self) -> bool {
        *self == Self::Legacy
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Full => "full",
            Self::Contact => "contact",
            Self::Observer => "observer",
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            // `seed` is the deprecated name, accepted for one release.
            "legacy" | "seed" => Ok(Self::Legacy),
            "full" => Ok(Self::Full),
            "contact" => Ok(Self::Contact),
            "observer" => Ok(Self::Observer),
            _ => Err(Invalid::rule("must be legacy, full, contact or observer")),
        }
    }
}

/// How to fill a sample when fewer peers match than the caller requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fill {
    /// With a uniform random sample of the other live peers, so that peers of a rare archetype are
    /// not isolated.
    Any,
}

impl Fill {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "any" => Ok(Self::Any),
            _ => Err(Invalid::rule("must be any")),
        }
    }
}

/// The bounds of `limit` and the defaults of a request: a requested limit must be within `1..=max`,
/// and `default` and `order` apply if the caller gives none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiscoverBounds {
    /// The limit if the caller gives none.
    pub default: u32,
    /// The maximum limit that a caller may request.
    pub max: u32,
    /// The order if the caller gives neither an order nor a cursor. It must be `Sample` or
    /// `Diverse`. A client that gives no order does not expect an enumeration, which continues over
    /// several pages.
    pub order: Order,
}

impl DiscoverBounds {
    /// Bounds of `limit`, with uniform samples as the default order.
    pub const fn new(default: u32, max: u32) -> Self {
        Self { default, max, order: Order::Sample }
    }
}

/// The parameters of a `/discover` request, or the `discover` key of another request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DiscoverRequest {
    /// List peers that carry any of these archetypes, or all peers if empty.
    #[serde(rename = "archetype")]
    pub archetypes: Vec<Archetype>,
    /// The maximum number of peers in the response.
    pub limit: u32,
    /// A peer to leave out of the list, normally the caller itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude: Option<PeerId>,
    /// Whether to return a sample, of which kind, or an enumeration.
    #[serde(skip_serializing_if = "Order::is_sample")]
    pub order: Order,
    /// The position at which an enumeration continues: `next_cursor` of the previous page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// The representation of each peer.
    #[serde(skip_serializing_if = "View::is_legacy")]
    pub view: View,
    /// How to fill the list when fewer than `limit` peers match. It has no effect if it is `None`
    /// or if no archetype is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fill: Option<Fill>,
}

impl DiscoverRequest {
    /// The maximum number of archetypes in one query, because each one costs a separate look-up.
    pub const MAX_ARCHETYPES: usize = 8;
    /// The names of the query parameters. Any other parameter is ignored, whatever its value.
    pub const PARAMETERS: [&str; 7] = ["archetype", "limit", "exclude", "order", "cursor", "view", "fill"];

    /// A request for a sample of all peers.
    pub fn new(limit: u32) -> Self {
        Self {
            archetypes: Vec::new(),
            limit,
            exclude: None,
            order: Order::Sample,
            cursor: None,
            view: View::Legacy,
            fill: None,
        }
    }

    /// Reads query parameters whose names and values are already decoded. Unknown parameters are
    /// ignored.
    ///
    /// # Errors
    /// A [`Refusal`] that names the parameter and the rule it breaks.
    pub fn from_parameters<'a>(
        parameters: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
        bounds: DiscoverBounds,
    ) -> Result<Self, Refusal> {
        let mut builder = DiscoverRequestBuilder::default();
        for (name, value) in parameters {
            builder.set(&name, &value, bounds.max)?;
        }
        builder.build(bounds).map_err(|(parameter, invalid)| invalid.in_parameter(parameter))
    }

    /// The query parameters that express this request, as names and values that are not yet
    /// encoded. Parameters that have the API's default value are left out. A request that uses no
    /// newer option therefore also works on a service that knows only the original parameters.
    pub fn parameters(&self) -> Vec<(&'static str, Cow<'_, str>)> {
        let archetypes = self.archetypes.iter().map(|archetype| ("archetype", archetype.as_str().into()));
        let order = (self.order != Order::default()).then(|| ("order", self.order.as_str().into()));
        let view = (self.view != View::default()).then(|| ("view", self.view.as_str().into()));
        archetypes
            .chain([("limit", self.limit.to_string().into())])
            .chain(self.exclude.as_ref().map(|id| ("exclude", id.as_str().into())))
            .chain(order)
            .chain(self.cursor.as_deref().map(|cursor| ("cursor", cursor.into())))
            .chain(view)
            .chain(self.fill.map(|fill| ("fill", fill.as_str().into())))
            .collect()
    }

    /// Reads the value of the `discover` key in the body of another request.
    pub(crate) fn from_value(value: &RawValue, bounds: DiscoverBounds) -> Result<Self, Refusal> {
        let object = Object::nested(value, "discover.")?;
        let archetypes = object.optional("archetype", string_or_list)?.unwrap_or_default();
        if object.raw("since").is_some() {
            return Err(
                object.refuse("since", Invalid::rule("is only supported as a parameter of GET /discover"))
            );
        }
        let builder = DiscoverRequestBuilder {
            archetypes_given: archetypes.len(),
            archetypes: archetypes
                .iter()
                .filter(|text| !text.is_empty())
                .map(|text| Archetype::parse_stored(text))
                .collect::<Result<_, _>>()
                .map_err(|invalid| object.refuse("archetype", invalid))?,
            limit: object.optional("limit", |value| integer(value, 1, bounds.max))?,
            exclude: object.optional("exclude", |value| PeerId::parse(&string(value)?))?,
            order: object.optional("order", |value| Order::parse(&string(value)?))?,
            cursor: object.optional("cursor", |value| Ok(string(value)?.into_owned()))?,
            view: object.optional("view", |value| View::parse(&string(value)?))?,
            fill: object.optional("fill", |value| Fill::parse(&string(value)?))?,
        };
        builder.build(bounds).map_err(|(key, invalid)| object.refuse(key, invalid))
    }
}

fn string_or_list(value: &RawValue) -> Result<Vec<Cow<'_, str>>, Invalid> {
    if value.get().starts_with('"') {
        string(value).map(|text| vec![text])
    } else {
        strings(value).map_err(|_| Invalid::rule("must be a string or a list of strings"))
    }
}

/// A request of which some parameters have been set. [`DiscoverRequestBuilder::build`] applies the
/// defaults and the rules that concern several parameters.
#[derive(Default)]
struct DiscoverRequestBuilder {
    /// The number of archetypes in the request, including empty and repeated ones. The bound
    /// applies to what the caller wrote, not to what remains after duplicates are dropped.
    archetypes_given: usize,
    archetypes: Vec<Archetype>,
    limit: Option<u32>,
    exclude: Option<PeerId>,
    order: Option<Order>,
    cursor: Option<String>,
    view: Option<View>,
    fill: Option<Fill>,
}

impl DiscoverRequestBuilder {
    fn set(&mut self, name: &str, value: &str, max_limit: u32) -> Result<(), Refusal> {
        self.archetypes_given += usize::from(name == "archetype");
        match name {
            "archetype" if value.is_empty() => Ok(()),
            "archetype" => Archetype::parse_stored(value)
                .map(|archetype| self.archetypes.push(archetype))
                .map_err(|e| (name, e)),
            "limit" => set_once(&mut self.limit, name, parse_limit(value, max_limit)),
            "exclude" => set_once(&mut self.exclude, name, PeerId::parse(value)),
            "order" => set_once(&mut self.order, name, Order::parse(value)),
            "cursor" => set_once(&mut self.cursor, name, Ok(value.to_owned())),
            "view" => set_once(&mut self.view, name, View::parse(value)),
            "fill" => set_once(&mut self.fill, name, Fill::parse(value)),
            _ => Ok(()),
        }
        .map_err(|(name, invalid)| invalid.in_parameter(name.to_owned()))
    }

    fn build(mut self, bounds: DiscoverBounds) -> Result<DiscoverRequest, (&'static str, Invalid)> {
        // The order of the archetypes does not change the meaning of a query. Sorting them gives
        // equal queries one form. This matters for a cursor, which contains a hash of the
        // archetypes of its query.
        self.archetypes.sort_unstable();
        self.archetypes.dedup();
        if self.archetypes_given > DiscoverRequest::MAX_ARCHETYPES {
            return Err(("archetype", Invalid::rule("must be given at most 8 times")));
        }
        if self.cursor.is_some() && self.order.is_some_and(|order| order != Order::All) {
            return Err(("cursor", Invalid::rule("requires order=all: a sample has no next page")));
        }
        // A cursor implies an enumeration, so that clients need not repeat `order` on each page.
        let implied = if self.cursor.is_some() { Order::All } else { bounds.order };
        let order = self.order.unwrap_or(implied);
        if self.fill.is_some() && order == Order::All {
            let rule = "requires order=sample or order=diverse: an enumeration lists only matching peers";
            return Err(("fill", Invalid::rule(rule)));
        }
        Ok(DiscoverRequest {
            archetypes: self.archetypes,
            limit: self.limit.unwrap_or(bounds.default),
            exclude: self.exclude,
            order,
            cursor: self.cursor,
            view: self.view.unwrap_or_default(),
            fill: self.fill,
        })
    }
}

fn parse_limit(text: &str, max: u32) -> Result<u32, Invalid> {
    // `parse` alone would accept a leading `+`.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|limit| digits && (1..=max).contains(limit))
        .ok_or_else(|| Invalid(format!("must be an integer from 1 to {max}").into()))
}

/// Sets a parameter that may be given only once.
pub(crate) fn set_once<'n, T>(
    slot: &mut Option<T>,
    name: &'n str,
    parsed: Result<T, Invalid>,
) -> Result<(), (&'n str, Invalid)> {
    if slot.is_some() {
        return Err((name, Invalid::rule("must be given once")));
    }
    *slot = Some(parsed.map_err(|invalid| (name, invalid))?);
    Ok(())
}

#[cfg(test)]
mod tests;
