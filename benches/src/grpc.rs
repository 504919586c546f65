//! etcd's gRPC over HTTP/2: the few calls that the comparison makes, their bytes written by hand.
//!
//! Invariants: a call is one request on a connection that is kept; what etcd refuses is an error.
//!
//! What it does not do: find the leader by itself, retry, watch. etcd's JSON gateway would be simpler, and
//! costs etcd so much that the comparison would be unfair.

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use http::Request;
use tokio::net::TcpStream;

/// What went wrong, in words.
pub type Failure = Box<dyn std::error::Error>;

/// A connection to one member.
#[derive(Clone, Debug)]
pub struct Etcd {
    sender: SendRequest<Bytes>,
}

/// What a transaction has come to.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// Whether the comparison held.
    pub succeeded: bool,
    /// What the failure's range has found.
    pub found: Option<Found>,
}

/// A key's value.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Changes with every write.
    pub mod_revision: u64,
    /// The value.
    pub value: Vec<u8>,
}

/// What must hold of a key.
#[derive(Clone, Copy, Debug)]
pub enum Compare {
    /// It has this revision.
    ModRevision(u64),
    /// It is not there.
    Absent,
}

impl Etcd {
    /// Connects to a member on loopback.
    ///
    /// # Errors
    /// The system's, or the member's.
    pub async fn connect(port: u16) -> Result<Self, Failure> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let builder = h2::client::Builder::new()
            .initial_window_size(1 << 20)
            .initial_connection_window_size(1 << 24)
            .handshake(stream);
        let (sender, connection) = builder.await?;
        // What goes wrong there is told to whoever waits for an answer.
        tokio::task::spawn_local(async { drop(connection.await) });
        Ok(Self { sender })
    }

    /// Whether this member is the leader.
    ///
    /// # Errors
    /// The member's.
    pub async fn is_leader(&self) -> Result<bool, Failure> {
        let answer = self.call("Maintenance/Status", BytesMut::new()).await?;
        let (mut member, mut leader) = (0, 0);
        for (number, field) in fields(&answer)? {
            match (number, field) {
                (1, Field::Bytes(header)) => {
                    for (number, field) in fields(header)? {
                        if let (2, Field::Number(id)) = (number, field) {
                            member = id;
                        }
                    }
                }
                (4, Field::Number(id)) => leader = id,
                _ => {}
            }
        }
        Ok(leader != 0 && leader == member)
    }

    /// The value of a key, as a majority has it.
    ///
    /// # Errors
    /// The member's.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Found>, Failure> {
        found(&self.call("KV/Range", range(key)).await?)
    }

    /// Puts values, unconditionally, at most 128.
    ///
    /// # Errors
    /// The member's.
    pub async fn put_all(&self, pairs: &[(Vec<u8>, Vec<u8>)]) -> Result<(), Failure> {
        let mut request = BytesMut::new();
        for (key, value) in pairs {
            nested(&mut request, 2, &operation(2, &put(key, value)));
        }
        self.call("KV/Txn", request).await.map(|_| ())
    }

    /// Puts a value if the comparison holds; if not, reads what is there.
    ///
    /// # Errors
    /// The member's.
    pub async fn put_if(
        &self,
        key: &[u8],
        value: &[u8],
        compare: Compare,
    ) -> Result<Transaction, Failure> {
        let mut request = BytesMut::new();
        let mut condition = BytesMut::new();
        let (target, of, expected) = match compare {
            Compare::ModRevision(revision) => (2, 6, revision),
            Compare::Absent => (1, 5, 0),
        };
        number(&mut condition, 2, target);
        nested(&mut condition, 3, key);
        number(&mut condition, of, expected);
        nested(&mut request, 1, &condition);
        nested(&mut request, 2, &operation(2, &put(key, value)));
        nested(&mut request, 3, &operation(1, &range(key)));
        let answer = self.call("KV/Txn", request).await?;
        let mut transaction = Transaction::default();
        for (number, field) in fields(&answer)? {
            match (number, field) {
                (2, Field::Number(succeeded)) => transaction.succeeded = succeeded != 0,
                (3, Field::Bytes(response)) => {
                    for (number, field) in fields(response)? {
                        if let (1, Field::Bytes(range)) = (number, field) {
                            transaction.found = found(range)?;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(transaction)
    }

    /// Removes a key.
    ///
    /// # Errors
    /// The member's.
    pub async fn remove(&self, key: &[u8]) -> Result<(), Failure> {
        let mut request = BytesMut::new();
        nested(&mut request, 1, key);
        self.call("KV/DeleteRange", request).await.map(|_| ())
    }

    /// Removes all keys between two.
    ///
    /// # Errors
    /// The member's.
    pub async fn remove_between(&self, first: &[u8], end: &[u8]) -> Result<(), Failure> {
        let mut request = BytesMut::new();
        nested(&mut request, 1, first);
        nested(&mut request, 2, end);
        self.call("KV/DeleteRange", request).await.map(|_| ())
    }

    async fn call(&self, method: &str, body: BytesMut) -> Result<Bytes, Failure> {
        let request = Request::post(format!("http://etcd/etcdserverpb.{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let (response, mut stream) =
            self.sender.clone().ready().await?.send_request(request, false)?;
        let mut frame = BytesMut::with_capacity(body.len() + 5);
        frame.put_u8(0);
        frame.put_u32(u32::try_from(body.len())?);
        frame.extend_from_slice(&body);
        stream.send_data(frame.freeze(), true)?;
        let response = response.await?;
        let mut status = response.headers().get("grpc-status").cloned();
        let mut body = response.into_body();
        let mut bytes = BytesMut::new();
        while let Some(chunk) = body.data().await {
            let chunk = chunk?;
            body.flow_control().release_capacity(chunk.len())?;
            bytes.extend_from_slice(&chunk);
        }
        if let Some(trailers) = body.trailers().await? {
            status = trailers.get("grpc-status").cloned().or(status);
        }
        match status {
            Some(status) if status == "0" && bytes.len() >= 5 => Ok(bytes.freeze().slice(5..)),
            status => Err(format!("etcd: {method}: {status:?}").into()),
        }
    }
}

enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn found(range: &[u8]) -> Result<Option<Found>, Failure> {
    for (number, field) in fields(range)? {
        if let (2, Field::Bytes(pair)) = (number, field) {
            let mut found = Found::default();
            for (number, field) in fields(pair)? {
                match (number, field) {
                    (3, Field::Number(revision)) => found.mod_revision = revision,
                    (5, Field::Bytes(value)) => found.value = value.to_vec(),
                    _ => {}
                }
            }
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn range(key: &[u8]) -> BytesMut {
    let mut request = BytesMut::new();
    nested(&mut request, 1, key);
    request
}

fn put(key: &[u8], value: &[u8]) -> BytesMut {
    let mut request = range(key);
    nested(&mut request, 2, value);
    request
}

fn operation(kind: u8, request: &[u8]) -> BytesMut {
    let mut operation = BytesMut::new();
    nested(&mut operation, kind, request);
    operation
}

fn nested(to: &mut BytesMut, field: u8, bytes: &[u8]) {
    to.put_u8(field << 3 | 2);
    varint(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

fn number(to: &mut BytesMut, field: u8, value: u64) {
    to.put_u8(field << 3);
    varint(to, value);
}

fn varint(to: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        to.put_u8(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    to.put_u8(value.to_le_bytes()[0]);
}

fn fields(mut bytes: &[u8]) -> Result<Vec<(u64, Field<'_>)>, Failure> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let key = read(&mut bytes)?;
        let field = match key & 7 {
            0 => Field::Number(read(&mut bytes)?),
            2 => {
                let length = usize::try_from(read(&mut bytes)?)?;
                let (field, rest) = bytes.split_at_checked(length).ok_or("etcd: a short field")?;
                bytes = rest;
                Field::Bytes(field)
            }
            kind => return Err(format!("etcd: a field of kind {kind}").into()),
        };
        all.push((key >> 3, field));
    }
    Ok(all)
}

fn read(bytes: &mut &[u8]) -> Result<u64, Failure> {
    let (mut value, mut shift) = (0, 0);
    loop {
        let (first, rest) = bytes.split_first().ok_or("etcd: a short number")?;
        *bytes = rest;
        value |= u64::from(first & 0x7f).checked_shl(shift).ok_or("etcd: a long number")?;
        if first & 0x80 == 0 {
            return Ok(value);
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = put(b"key", b"value");
        number(&mut bytes, 3, 300);
        let read = fields(&bytes).unwrap();
        assert!(matches!(
            read[..],
            [(1, Field::Bytes(b"key")), (2, Field::Bytes(b"value")), (3, Field::Number(300))]
        ));
        assert!(fields(&bytes[..4]).is_err() && fields(&[0x80]).is_err());
    }
}
