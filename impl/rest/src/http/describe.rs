//! The API's description, put right where what is derived from types says something else than is meant.
//!
//! Invariants:
//! * a parameter that may be left out is not one that may be `null`;
//! * bytes are bytes, not lists of numbers, and may be none at all;
//! * what is answered before a path is asked may be answered by each.
//!
//! What it does not do: add paths.

use std::collections::HashSet;

use axum::http::Method;
use serde_json::{Value, json};

/// Answers of whoever stands before all paths, or catches what breaks there.
const OF_EACH: [(&str, &str); 4] = [
    ("403", "No certificate of the cluster's authority, or a page of another site"),
    ("421", "The request names a host that is not loopback"),
    ("429", "The client sends too many requests"),
    ("500", "The node is at fault"),
];

/// The description as text.
pub(super) fn text(api: &utoipa::openapi::OpenApi) -> String {
    let mut value = serde_json::to_value(api).expect("a description of texts and numbers is JSON");
    let paths = value["paths"].as_object_mut().into_iter().flatten();
    for operation in paths.filter_map(|(_, path)| path.as_object_mut()).flatten() {
        put_right(operation.1);
    }
    serde_json::to_string_pretty(&value).expect("a value is JSON") + "\n"
}

/// The operations under `/v1` that take nothing behind a question mark.
pub(super) fn without_query(api: &utoipa::openapi::OpenApi) -> HashSet<(Method, String)> {
    let value = serde_json::to_value(api).expect("a description of texts and numbers is JSON");
    let mut bare = HashSet::new();
    let paths = value["paths"].as_object().into_iter().flatten();
    for (path, operations) in paths.filter(|(path, _)| path.starts_with("/v1/")) {
        for (method, operation) in operations.as_object().into_iter().flatten() {
            let mut parameters = operation["parameters"].as_array().into_iter().flatten();
            if !parameters.any(|parameter| parameter["in"] == "query")
                && let Ok(method) = method.to_uppercase().parse()
            {
                bare.insert((method, path.clone()));
            }
        }
    }
    bare
}

fn put_right(operation: &mut Value) {
    for parameter in operation["parameters"].as_array_mut().into_iter().flatten() {
        let kinds = &mut parameter["schema"]["type"];
        if let Some(kind) =
            kinds.as_array().and_then(|all| all.iter().find(|kind| **kind != "null"))
        {
            *kinds = kind.clone();
        }
    }
    if let Some(body) = operation.get_mut("requestBody")
        && as_bytes(&mut body["content"])
    {
        body["required"] = Value::Bool(false);
    }
    if let Some(responses) = operation["responses"].as_object_mut() {
        for (status, description) in OF_EACH {
            let schema = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
            let content = json!({ "application/problem+json": schema });
            let response = json!({ "description": description, "content": content });
            responses.entry(status).or_insert(response);
        }
    }
    for response in operation["responses"].as_object_mut().into_iter().flatten() {
        as_bytes(&mut response.1["content"]);
    }
    // What was only looked for, and is not there, has become null.
    if let Some(fields) = operation.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
        for response in fields["responses"].as_object_mut().into_iter().flatten() {
            if let Some(fields) = response.1.as_object_mut() {
                fields.retain(|_, value| !value.is_null());
            }
        }
    }
}

fn as_bytes(content: &mut Value) -> bool {
    let Some(bytes) = content.get_mut("application/octet-stream") else { return false };
    bytes["schema"] = json!({ "type": "string", "format": "binary" });
    true
}
