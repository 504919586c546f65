//! A node with its paths, without a socket for clients.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use cloakroom_kademlia::Parameters;
use cloakroom_node::Patience;
use cloakroom_register::Waits;
use cloakroom_rest::{App, Gate};
use cloakroom_server::{Limits, NodeFolder, Server, ServerConfig};
use http_body_util::BodyExt;
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt;

/// What came back.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Got {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The last part of a problem's type.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{self:?}");
        let json = self.json();
        assert_eq!(json["status"], self.status.as_u16());
        json["type"].as_str().unwrap().rsplit(':').next().unwrap().to_owned()
    }

    pub(crate) fn etag(&self) -> &str {
        self.headers["etag"].to_str().unwrap()
    }
}

/// A cluster of one.
pub(crate) struct Node {
    folder: TempDir,
    server: Option<Arc<Server>>,
    app: Option<App>,
    router: Router,
    behind: std::sync::Mutex<Router>,
}

impl Node {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        NodeFolder::found_alone(&folder.path().join("node"), 8).unwrap();
        let (server, app) = open(&folder.path().join("node"));
        let (router, behind) = (app.clone().router(), std::sync::Mutex::default());
        Self { folder, server: Some(server), app: Some(app), router, behind }
    }

    /// Its paths behind a gate.
    pub(crate) fn router_behind(&self, gate: Gate) -> Router {
        let folder = NodeFolder::open(&self.path()).unwrap();
        let server = Arc::clone(self.server.as_ref().unwrap());
        let cluster = folder.credentials.cluster();
        let router = App::within(gate, server, cluster, folder.genesis.clone()).router();
        self.behind.lock().unwrap().clone_from(&router);
        router
    }

    /// What is there behind the gate, without going through it.
    pub(crate) async fn behind_gate(&self, path: &str) -> Bytes {
        let router = self.behind.lock().unwrap().clone();
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        response.into_body().collect().await.unwrap().to_bytes()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("node")
    }

    pub(crate) fn router(&self) -> Router {
        self.router.clone()
    }

    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    pub(crate) fn app(&self) -> App {
        self.app.clone().unwrap()
    }

    /// Stops it and starts it with what its disk has.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        let (server, app) = open(&self.path());
        self.router = app.clone().router();
        (self.server, self.app) = (Some(server), Some(app));
    }

    pub(crate) async fn stop(&mut self) {
        (self.router, self.app) = (Router::new(), None);
        self.server.take().unwrap().stop().await;
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Got {
        Self::send_to(self.router(), request).await
    }

    pub(crate) async fn send_to(router: Router, request: Request<Body>) -> Got {
        let response = router.oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Got { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Got {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Got {
        self.ask("GET", path, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &str) -> Got {
        self.ask("POST", path, &[("content-type", "application/json")], body).await
    }
}

fn open(path: &Path) -> (Arc<Server>, App) {
    let NodeFolder { credentials, genesis, .. } = NodeFolder::open(path).unwrap();
    let cluster = credentials.cluster().to_owned();
    let config = ServerConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        advertise: None,
        credentials,
        genesis: genesis.clone(),
        data: path.join("node.redb"),
        parameters: Parameters { subnets: None, ..Parameters::default() },
        waits: Waits::default(),
        patience: Patience::default(),
        limits: Limits::default(),
    };
    let server = Arc::new(Server::start(config).unwrap());
    let app = App::new(Arc::clone(&server), cluster, genesis);
    (server, app)
}
