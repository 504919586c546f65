//! What a running server shows, to its peers and to clients over HTTPS.
//!
//! Invariants:
//! * NET-2, REST-5: what is in the node's folder takes effect at once on SIGHUP, and soon by itself when a file
//!   there has changed; what cannot be read changes nothing, and is said;
//! * a cluster of one renews its certificate itself, since it has its authority; any other node says that
//!   somebody must, from the last third of a certificate's life on.
//!
//! What it does not do: fetch a certificate from elsewhere.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use cloakroom_rest::Tls;
use cloakroom_server::{Credentials, NodeFolder, Server, Shown};
use tracing::{info, warn};

use crate::args::ServeArgs;
use crate::error::Error;

/// Between two looks at the files.
pub(super) const LOOK: Duration = Duration::from_secs(5);
/// Between two warnings of one kind.
const PAUSE: Duration = Duration::from_hours(1);

/// What a running server shows.
pub(super) struct Certificates {
    folder: PathBuf,
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
        NodeFolder::renew_alone(&args.folder, &hosts)?;
        let shown = args.https_cert.clone().zip(args.https_key.clone());
        let shown = shown.map(|(certificate, key)| Shown { certificate, key });
        let folder = args.folder.clone();
        let mut new = Self { folder, hosts, shown, tls: None, seen: Vec::new(), warned: None };
        new.seen = new.written();
        Ok(new)
    }

    /// What HTTPS shows from now on.
    pub(super) fn tls(&mut self, credentials: &Credentials) -> Result<Tls, Error> {
        let config = credentials.https(self.shown.as_ref());
        let config = config.map_err(cloakroom_server::FolderError::from)?;
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
    pub(super) fn look(&mut self, server: &Server) {
        match NodeFolder::renew_alone(&self.folder, &self.hosts) {
            Ok(true) => info!("has renewed its certificate"),
            Ok(false) => {}
            Err(cause) => self.warn(&format!("cannot renew its certificate: {cause}")),
        }
        if self.written() != self.seen {
            self.reload(server);
        }
        if let Some(proof) = server.proof().filter(cloakroom_server::Proof::is_due) {
            let days = proof.left().as_secs() / 86_400;
            self.warn(&format!(
                "the certificate expires in {days} days: see `cloakroom cert renew`"
            ));
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
