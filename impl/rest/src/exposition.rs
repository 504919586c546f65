//! Which of two text formats metrics are answered in, and the older of them made from the newer.
//!
//! Invariants:
//! * who does not ask for OpenMetrics gets the format of Prometheus, version 0.0.4: browsers, `curl`, and scrapers that are
//!   older than OpenMetrics;
//! * samples are the same in both, name by name and value by value.
//!
//! What it does not do: understand what is no metric of ours. Exemplars, timestamps and texts with a backslash, which the
//! formats write differently, there are none of.

use std::cmp::Ordering;
use std::fmt::Write;

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

/// A format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    OpenMetrics,
    Prometheus,
}

const NEWER: &str = "application/openmetrics-text";
const OLDER: &str = "text/plain";

impl Format {
    /// The one that was asked for.
    pub(crate) fn accepted(headers: &HeaderMap) -> Self {
        let accept = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let ranges: Vec<(&str, f32)> =
            accept.flat_map(|value| value.split(',')).map(range).collect();
        let weight = |kind: &str| {
            let named = ranges.iter().filter(|(range, _)| range.eq_ignore_ascii_case(kind));
            named.map(|(_, weight)| *weight).max_by(f32::total_cmp).unwrap_or(0.0)
        };
        let newer = weight(NEWER);
        let is_newer = newer > 0.0 && newer.total_cmp(&weight(OLDER)) != Ordering::Less;
        if is_newer { Self::OpenMetrics } else { Self::Prometheus }
    }

    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// From a text in OpenMetrics.
    pub(crate) fn written(self, text: String) -> String {
        match self {
            Self::OpenMetrics => text,
            Self::Prometheus => older(&text),
        }
    }
}

/// A range of media types without its parameters, and its weight.
fn range(text: &str) -> (&str, f32) {
    let mut parts = text.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    let weight = parts.find_map(|it| it.strip_prefix("q=").or(it.strip_prefix("Q=")));
    (kind, weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0)))
}

/// The older format names a family as its samples are named, has no infos and no units, and no end.
fn older(text: &str) -> String {
    let mut older = String::with_capacity(text.len());
    let mut help = None;
    for line in text.lines() {
        let Some(comment) = line.strip_prefix("# ") else {
            let _ = writeln!(older, "{line}");
            continue;
        };
        if let Some(told) = comment.strip_prefix("HELP ") {
            // It stands before the type, by which the name is chosen.
            help = told.split_once(' ');
        } else if let Some((name, kind)) =
            comment.strip_prefix("TYPE ").and_then(|it| it.split_once(' '))
        {
            let (end, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                _ => ("", kind),
            };
            if let Some((_, text)) = help.take().filter(|(of, _)| *of == name) {
                let _ = writeln!(older, "# HELP {name}{end} {text}");
            }
            let _ = writeln!(older, "# TYPE {name}{end} {kind}");
        }
    }
    older
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn accepted(values: &[&'static str]) -> Format {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ACCEPT, HeaderValue::from_static(value));
        }
        Format::accepted(&headers)
    }

    #[test]
    fn openmetrics_is_for_whoever_asks_for_it_and_likes_it_no_less() {
        for older in [
            &[][..],
            &["*/*"],
            &["text/html,application/xhtml+xml,*/*;q=0.8"],
            &["text/plain;version=0.0.4;q=1,*/*;q=0.1"],
            &["application/openmetrics-text;q=0"],
            &["application/openmetrics-text;q=0.4, text/plain;q=0.5"],
            &["application/openmetrics-text;q=nonsense"],
        ] {
            assert_eq!(accepted(older), Format::Prometheus, "{older:?}");
        }
        // As Prometheus 2 and 3 say it.
        let two = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let three = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for newer in [
            &[two][..],
            &[three],
            &["Application/OpenMetrics-Text"],
            &["text/plain;q=0.5", "application/openmetrics-text"],
        ] {
            assert_eq!(accepted(newer), Format::OpenMetrics, "{newer:?}");
        }
    }

    #[test]
    fn a_family_is_named_in_the_older_format_as_its_samples_are() {
        let newer = "# HELP a_bytes Bytes.\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\n\
                     a_bytes_total{x=\"# TYPE\"} 1\n# HELP b B.\n# TYPE b info\nb_info{v=\"1\"} 1\n\
                     # TYPE c gauge\nc 2.0\n# HELP d D.\n# TYPE d histogram\nd_sum 0.0\nd_count 0\n\
                     d_bucket{le=\"+Inf\"} 0\n# TYPE e unknown\ne 1\n# EOF\n";
        let expected = "# HELP a_bytes_total Bytes.\n# TYPE a_bytes_total counter\n\
                        a_bytes_total{x=\"# TYPE\"} 1\n# HELP b_info B.\n# TYPE b_info gauge\n\
                        b_info{v=\"1\"} 1\n# TYPE c gauge\nc 2.0\n# HELP d D.\n# TYPE d histogram\n\
                        d_sum 0.0\nd_count 0\nd_bucket{le=\"+Inf\"} 0\n# TYPE e untyped\ne 1\n";
        assert_eq!(older(newer), expected);
    }
}
