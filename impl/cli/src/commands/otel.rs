//! Traces of `serve` for a collector that speaks OTLP: only with the feature `otel`.
//!
//! Invariants: what cannot be sent is lost, and holds up no request: spans wait in a bounded queue, and a thread of
//! its own sends them.
//!
//! What it does not do: TLS. A collector stands beside the node, and sends on.

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tracing::Subscriber;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

use crate::error::Error;

/// Sends what is left when it is dropped.
#[derive(Debug)]
pub(super) struct Traces(SdkTracerProvider);

impl Traces {
    /// To a collector, such as `http://127.0.0.1:4318`.
    pub(super) fn begin(collector: &str) -> Result<Self, Error> {
        let wrong = |cause: String| Error::Collector { got: collector.to_owned(), cause };
        if !collector.starts_with("http://") {
            return Err(wrong("expected http://HOST:PORT".to_owned()));
        }
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", collector.trim_end_matches('/')))
            .build()
            .map_err(|cause| wrong(cause.to_string()))?;
        let resource = Resource::builder().with_service_name("cloakroom").build();
        let provider = SdkTracerProvider::builder();
        Ok(Self(provider.with_resource(resource).with_batch_exporter(exporter).build()))
    }

    /// Every request over HTTP, and what is logged on the way, whatever the log shows.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let layer: OpenTelemetryLayer<S, SdkTracer> =
            tracing_opentelemetry::layer().with_tracer(self.0.tracer("cloakroom"));
        let all = [
            ("tower_http", tracing::Level::DEBUG),
            ("cloakroom_rest", tracing::Level::INFO),
            ("cloakroom_server", tracing::Level::INFO),
        ];
        layer.with_filter(Targets::new().with_targets(all))
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        // A collector that is away gets nothing.
        let _ = self.0.shutdown();
    }
}
