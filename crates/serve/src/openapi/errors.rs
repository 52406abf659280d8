//! The error answers of a dialect, in the description of its endpoints.

use std::collections::BTreeMap;

use utoipa::ToSchema;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};

use crate::problem::{Envelope, Kind};

/// Every error that any endpoint of the dialect `E` can answer, by status.
pub fn responses<E: Envelope>() -> BTreeMap<String, RefOr<Response>>
where
    E::Body: ToSchema,
{
    described::<E>(|kind| kind != Kind::NotImplemented)
}

/// The error of endpoints that the dialect `E` describes and this version cannot serve, beside the others.
pub fn not_implemented<E: Envelope>() -> BTreeMap<String, RefOr<Response>>
where
    E::Body: ToSchema,
{
    described::<E>(|kind| kind == Kind::NotImplemented)
}

fn described<E: Envelope>(is_wanted: impl Fn(Kind) -> bool) -> BTreeMap<String, RefOr<Response>>
where
    E::Body: ToSchema,
{
    let mut codes: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for kind in Kind::ALL.into_iter().filter(|kind| is_wanted(*kind)) {
        let words = codes.entry(E::status(kind).as_u16()).or_default();
        if !words.contains(&kind.code()) {
            words.push(kind.code());
        }
    }
    let name = E::Body::name();
    let response = |(status, codes): (u16, Vec<&str>)| {
        let body = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name(name.as_ref())))
            .build();
        let response = ResponseBuilder::new()
            .description(codes.join(", "))
            .content("application/json", body)
            .build();
        (status.to_string(), RefOr::T(response))
    };
    codes.into_iter().map(response).collect()
}
