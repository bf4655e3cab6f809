use super::*;

const BOUNDS: DiscoverBounds = DiscoverBounds::new(1_000, 1_000);

fn query(pairs: &[(&'static str, &'static str)]) -> Result<DiscoverRequest, Refusal> {
    let pairs = pairs.iter().map(|(name, value)| (Cow::Borrowed(*name), Cow::Borrowed(*value)));
    DiscoverRequest::from_parameters(pairs, BOUNDS)
}

#[test]
fn a_request_without_parameters_samples_all_peers() {
    assert_eq!(query(&[]).unwrap(), DiscoverRequest::new(1_000));
    assert_eq!(query(&[("reputation", "true"), ("archetype", "")]).unwrap(), DiscoverRequest::new(1_000));
}

#[test]
fn request_parameters_round_trip() {
    let whole = query(&[
        ("archetype", "a b"),
        ("archetype", "é"),
        ("limit", "3"),
        ("exclude", "p&q"),
        ("order", "all"),
        ("cursor", "c"),
        ("view", "full"),
    ])
    .unwrap();
    let filled = query(&[("archetype", "a"), ("fill", "any")]).unwrap();
    assert_eq!(filled.fill, Some(Fill::Any));
    let diverse = query(&[("order", "diverse"), ("fill", "any"), ("archetype", "a")]).unwrap();
    assert_eq!((diverse.order, diverse.fill), (Order::Diverse, Some(Fill::Any)));
    for request in [whole, filled, diverse, DiscoverRequest::new(1_000)] {
        let read = DiscoverRequest::from_parameters(
            request.parameters().into_iter().map(|(n, v)| (n.into(), v)),
            BOUNDS,
        );
        assert_eq!(read.unwrap(), request);
    }
}

#[test]
fn the_legacy_view_has_a_deprecated_alias_and_clients_send_neither_name() {
    for name in ["legacy", "seed"] {
        assert_eq!(query(&[("view", name)]).unwrap(), DiscoverRequest::new(1_000));
        let inline = RawValue::from_string(format!(r#"{{"view":"{name}"}}"#)).unwrap();
        assert_eq!(DiscoverRequest::from_value(&inline, BOUNDS).unwrap(), DiscoverRequest::new(1_000));
    }
    assert!(query(&[("view", "half")]).unwrap_err().message.contains("legacy, full, contact or observer"));
    let written = serde_json::to_string(&DiscoverRequest::new(1_000)).unwrap();
    assert!(!written.contains("view"), "{written}");
    let full = DiscoverRequest { view: View::Full, ..DiscoverRequest::new(1_000) };
    assert!(serde_json::to_string(&full).unwrap().contains(r#""view":"full""#));
}

#[test]
fn archetypes_are_sorted_and_deduplicated() {
    let given = query(&[("archetype", "b"), ("archetype", "a"), ("archetype", "b")]).unwrap();
    assert_eq!(given.archetypes.iter().map(Archetype::as_str).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn a_cursor_implies_an_enumeration() {
    assert_eq!(query(&[("cursor", "x")]).unwrap().order, Order::All);
    for order in ["sample", "diverse"] {
        let refused = query(&[("cursor", "x"), ("order", order)]).unwrap_err();
        assert_eq!(refused.field.unwrap(), "cursor");
    }
}

#[test]
fn an_operators_default_order_applies_to_requests_without_one() {
    let bounds = DiscoverBounds { order: Order::Diverse, ..BOUNDS };
    let order = |pairs: &[(&'static str, &'static str)]| {
        let pairs = pairs.iter().map(|(name, value)| (Cow::Borrowed(*name), Cow::Borrowed(*value)));
        DiscoverRequest::from_parameters(pairs, bounds).unwrap().order
    };
    assert_eq!(order(&[("limit", "5")]), Order::Diverse);
    assert_eq!(order(&[("order", "sample")]), Order::Sample);
    assert_eq!(order(&[("cursor", "x")]), Order::All);
    let inline = |text: &str| {
        let value = RawValue::from_string(text.to_owned()).unwrap();
        DiscoverRequest::from_value(&value, bounds).unwrap().order
    };
    assert_eq!(inline("{}"), Order::Diverse);
    assert_eq!(inline(r#"{"order":"sample"}"#), Order::Sample);
    // Clients omit the API's default order, so that the operator's default applies.
    let written = serde_json::to_string(&DiscoverRequest::new(20)).unwrap();
    assert!(!written.contains("order"), "{written}");
}

#[test]
fn fill_is_refused_for_an_enumeration() {
    for with in [("order", "all"), ("cursor", "x")] {
        let refusal = query(&[("fill", "any"), with]).unwrap_err();
        assert_eq!(refusal.field.as_deref(), Some("fill"), "{refusal}");
        assert!(refusal.message.contains("order=sample"), "{refusal}");
    }
}

#[test]
fn an_invalid_parameter_is_refused_by_name() {
    let nine: Vec<_> = ["1", "2", "3", "4", "5", "6", "7", "8", "9"].map(|name| ("archetype", name)).to_vec();
    assert_eq!(query(&nine).unwrap_err().field.unwrap(), "archetype");
    assert_eq!(query(&[("archetype", ""); 9]).unwrap_err().field.unwrap(), "archetype");
    for (name, value) in [
        ("limit", "0"),
        ("limit", "1001"),
        ("limit", "-1"),
        ("limit", "+1"),
        ("limit", ""),
        ("limit", "ten"),
        ("limit", "1.0"),
        ("order", "newest"),
        ("view", ""),
        ("view", "Legacy"),
        ("fill", ""),
        ("fill", "all"),
        ("exclude", ""),
        ("exclude", "a b"),
        ("archetype", " a"),
    ] {
        let refusal = query(&[(name, value)]).unwrap_err();
        assert_eq!(refusal.code, crate::Code::InvalidParameter);
        assert_eq!(refusal.field.unwrap(), name);
    }
    assert_eq!(query(&[("limit", "1"), ("limit", "2")]).unwrap_err().to_string(), "limit must be given once");
}

#[test]
fn only_known_parameters_are_checked() {
    // Nine values break a rule for every parameter: at most eight archetypes are allowed, and
    // every other parameter may appear only once.
    let nine = |name| query(&[(name, "1"); 9]);
    for name in DiscoverRequest::PARAMETERS {
        assert_eq!(nine(name).unwrap_err().field.as_deref(), Some(name));
    }
    assert!(nine("reputation").is_ok());
}
