//! What a running server shows, to its peers and to clients over HTTPS.
//!
//! Invariants:
//! * NET-2, REST-5: what is in the node's folder takes effect at once on SIGHUP, and soon by itself when a file
//!   there has changed; what cannot be read changes nothing, and is said;
//! * from the last third of its life on a certificate is renewed: here, if the authority is, or by another member
//!   that is asked for it. What is new goes into the node's folder and takes effect as anything else there;
//! * while nobody renews it that is said now and then, with why, and tried again after pauses that grow.
//!
//! What it does not do: judge a certificate.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use cloakroom_rest::Tls;
use cloakroom_server::{
    Authority, Credentials, FolderError, NodeFolder, NodeId, Proof, RenewalError, Server, Shown,
};
use tokio::sync::oneshot::{self, error::TryRecvError};
use tracing::{debug, info, warn};

use crate::args::ServeArgs;
use crate::error::Error;

/// Between two looks at the files.
pub(super) const LOOK: Duration = Duration::from_secs(5);
/// Between two warnings of one kind.
const PAUSE: Duration = Duration::from_hours(1);
/// Others are asked again after [`LOOK`], then after twice as long, and so on up to this.
const LONGEST_PAUSE: Duration = Duration::from_mins(10);

/// What a running server shows.
pub(super) struct Certificates {
    folder: PathBuf,
    /// The authority's folder, if it is here and not a cluster of one's.
    authority: Option<PathBuf>,
    asking: Asking,
    /// Names that clients use.
    hosts: Vec<String>,
    shown: Option<Shown>,
    tls: Option<Tls>,
    /// When the files were last written, as far as they were looked at.
    seen: Vec<Option<SystemTime>>,
    warned: Option<SystemTime>,
}

impl Certificates {
    /// Those of a folder that is there. The certificate of a cluster of one is renewed if that is due.
    pub(super) fn new(args: &ServeArgs) -> Result<Self, Error> {
        let mut hosts = args.host.clone();
        let address = args.https.map(|address| address.ip());
        hosts.extend(address.filter(|it| !it.is_unspecified()).map(|it| it.to_string()));
        let authority = args.authority.clone();
        if let Some(authority) = &authority {
            let credentials = Credentials::load(&args.folder).map_err(FolderError::from)?;
            // Of another cluster: said now, and not when a certificate is due.
            Authority::of(authority, &credentials).map_err(FolderError::from)?;
        } else {
            NodeFolder::renew_alone(&args.folder, &hosts)?;
        }
        let asking = Asking::default();
        let shown = args.https_cert.clone().zip(args.https_key.clone());
        let shown = shown.map(|(certificate, key)| Shown { certificate, key });
        let folder = args.folder.clone();
        let (tls, seen, warned) = (None, Vec::new(), None);
        let mut new = Self { folder, authority, asking, hosts, shown, tls, seen, warned };
        new.seen = new.written();
        Ok(new)
    }

    /// The authority's folder, if others are to have their certificates renewed here.
    pub(super) fn authority(&self) -> Option<&Path> {
        self.authority.as_deref()
    }

    /// Renews the certificate if it is due and the authority is here. Says whether.
    fn renew_here(&self) -> Result<bool, FolderError> {
        match &self.authority {
            Some(authority) => NodeFolder::renew_by(&self.folder, authority),
            None => NodeFolder::renew_alone(&self.folder, &self.hosts),
        }
    }

    /// What HTTPS shows from now on.
    pub(super) fn tls(&mut self, credentials: &Credentials) -> Result<Tls, Error> {
        let config = credentials.https(self.shown.as_ref());
        let config = config.map_err(FolderError::from)?;
        let tls = Tls::new(credentials.cluster(), config);
        self.tls = Some(tls.clone());
        if self.shown.is_none() {
            let named = credentials.hosts();
            for host in self.hosts.iter().filter(|host| !named.contains(host)) {
                warn!(host, "the certificate does not name this host: see `cert renew --host`");
            }
        }
        Ok(tls)
    }

    /// New certificates and revocations take effect; what cannot be read changes nothing.
    pub(super) fn reload(&mut self, server: &Server) {
        self.seen = self.written();
        match self.read(server) {
            Ok(()) => info!("has new credentials"),
            Err(cause) => warn!(%cause, "keeps its credentials"),
        }
    }

    fn read(&self, server: &Server) -> Result<(), String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let credentials = Credentials::load(&self.folder).map_err(|error| text(&error))?;
        if credentials.id() != server.contact().id {
            return Err("those in the folder are another node's".to_owned());
        }
        let https = match &self.tls {
            Some(tls) => {
                let config = credentials.https(self.shown.as_ref());
                Some((tls, config.map_err(|error| text(&error))?))
            }
            None => None,
        };
        server.reload(&credentials).map_err(|error| text(&error))?;
        if let Some((tls, config)) = https {
            tls.replace(config);
        }
        Ok(())
    }

    /// Now and then: renews, reads what has changed, and warns.
    pub(super) fn look(&mut self, server: &Arc<Server>) {
        let mut failed = None;
        match self.asking.heard() {
            Some(Ok(by)) => info!(%by, "another member has renewed its certificate"),
            Some(Err(cause)) => {
                // Each time; as a warning only now and then.
                debug!(cause, "no other member has renewed its certificate");
                failed = Some(cause);
            }
            None => {}
        }
        match self.renew_here() {
            Ok(true) => info!("has renewed its certificate"),
            Ok(false) => {}
            Err(cause) => failed = Some(cause.to_string()),
        }
        if self.written() != self.seen {
            self.reload(server);
        }
        let due = server.proof().filter(Proof::is_due);
        if due.is_some() && self.authority.is_none() {
            self.asking.ask(server, &self.folder);
        }
        match (failed, due.map(|proof| proof.left().as_secs() / 86_400)) {
            (Some(cause), Some(days)) => {
                self.warn(&format!(
                    "the certificate expires in {days} days: {cause}; see `cloakroom cert renew`"
                ));
            }
            (Some(cause), None) => self.warn(&format!("cannot renew its certificate: {cause}")),
            (None, _) => {}
        }
    }

    fn warn(&mut self, what: &str) {
        let now = SystemTime::now();
        let recently = |before: SystemTime| now.duration_since(before).is_ok_and(|it| it < PAUSE);
        if !self.warned.is_some_and(recently) {
            self.warned = Some(now);
            warn!("{what}");
        }
    }

    fn written(&self) -> Vec<Option<SystemTime>> {
        let own = ["node.pem", "authority.pem", "revoked.pem"].map(|name| self.folder.join(name));
        let shown = self.shown.iter().flat_map(|it| [&it.certificate, &it.key]);
        let when = |path: &Path| std::fs::metadata(path).and_then(|it| it.modified()).ok();
        own.iter().chain(shown).map(|path| when(path)).collect()
    }
}

/// A question to the other members, and when another one is right.
#[derive(Default)]
struct Asking {
    /// Of a task that is under way.
    answer: Option<oneshot::Receiver<Result<NodeId, RenewalError>>>,
    failed: u32,
    not_before: Option<Instant>,
}

impl Asking {
    /// Asks them, unless that is under way, or too early after the last time.
    fn ask(&mut self, server: &Arc<Server>, folder: &Path) {
        if self.answer.is_some() || self.not_before.is_some_and(|at| Instant::now() < at) {
            return;
        }
        let (told, answer) = oneshot::channel();
        let (server, folder) = (Arc::clone(server), folder.to_owned());
        tokio::spawn(async move {
            // A server that ends meanwhile needs it no more.
            let _ = told.send(server.renew(&folder).await);
        });
        self.answer = Some(answer);
    }

    /// How it has ended, once: who has renewed the certificate, or why nobody has.
    fn heard(&mut self) -> Option<Result<NodeId, String>> {
        let heard = match self.answer.as_mut()?.try_recv() {
            Ok(heard) => heard.map_err(|cause| cause.to_string()),
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Closed) => Err("asking has failed".to_owned()),
        };
        self.answer = None;
        // A new certificate that is due at once is no reason to ask at once.
        let pause = LOOK * (1 << self.failed.min(10));
        self.not_before = Some(Instant::now() + pause.min(LONGEST_PAUSE));
        self.failed = if heard.is_ok() { 0 } else { self.failed.saturating_add(1) };
        Some(heard)
    }
}
