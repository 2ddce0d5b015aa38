// SPDX-License-Identifier: Apache-2.0
//! Key exchange by P-521, which ring lacks.
//!
//! A server with a P-521 certificate accepts TLS 1.2 only from clients that offer this group, and
//! some servers are configured for this group only. It is offered last, and no key is made unless
//! the server chooses it.

use p521::elliptic_curve::ecdh::diffie_hellman;
use p521::elliptic_curve::sec1::ToSec1Point;
use p521::{PublicKey, SecretKey};
use rustls::crypto::{ActiveKeyExchange, GetRandomFailed, SharedSecret, SupportedKxGroup};
use rustls::{Error, NamedGroup, PeerMisbehaved};

/// The number of bytes of a private key.
const KEY_SIZE: usize = 66;

/// The mask for the first byte of a private key: a key has 521 bits, so only one bit of this byte
/// is used.
const FIRST_BITS: u8 = 1;

/// The maximum number of attempts to make a private key. An attempt fails if the random number is
/// zero or not below the order of the group, with a probability of about 2^-261.
const MAX_ATTEMPTS: usize = 8;

/// The first byte of an uncompressed point.
pub(super) const UNCOMPRESSED: u8 = 4;

/// Key exchange by P-521.
#[derive(Debug)]
pub(super) struct P521;

/// A key exchange that waits for the server's key.
struct Exchange {
    secret: SecretKey,
    /// Our public key, as an uncompressed point.
    public: Box<[u8]>,
}

impl SupportedKxGroup for P521 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let secret = new_secret()?;
        let public = secret.public_key().to_sec1_point(false).as_bytes().into();
        Ok(Box::new(Exchange { secret, public }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::secp521r1
    }
}

fn new_secret() -> Result<SecretKey, Error> {
    let random = rustls::crypto::ring::default_provider().secure_random;
    for _ in 0..MAX_ATTEMPTS {
        let mut bytes = [0; KEY_SIZE];
        random.fill(&mut bytes)?;
        bytes[0] &= FIRST_BITS;
        if let Ok(secret) = SecretKey::from_slice(&bytes) {
            return Ok(secret);
        }
    }
    Err(GetRandomFailed.into())
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let wrong = || Error::from(PeerMisbehaved::InvalidKeyShare);
        // TLS uses uncompressed points only (RFC 8446, section 4.2.8.2). The parser checks that the
        // point is on the curve.
        if peer.first() != Some(&UNCOMPRESSED) {
            return Err(wrong());
        }
        let peer = PublicKey::from_sec1_bytes(peer).map_err(|_| wrong())?;
        let shared = diffie_hellman(self.secret.to_nonzero_scalar(), peer.as_affine());
        Ok(SharedSecret::from(shared.raw_secret_bytes().as_slice()))
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::secp521r1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_get_the_same_secret() {
        let (ours, theirs) = (P521.start().unwrap(), P521.start().unwrap());
        let (our_key, their_key) = (ours.pub_key().to_vec(), theirs.pub_key().to_vec());
        let secret = |side: Box<dyn ActiveKeyExchange>, key: &[u8]| {
            side.complete(key).map(|secret| secret.secret_bytes().to_vec())
        };
        let ours = secret(ours, &their_key).unwrap();
        assert_eq!(ours.len(), KEY_SIZE);
        assert_eq!(secret(theirs, &our_key).unwrap(), ours);
        let mut off_curve = our_key.clone();
        off_curve[100] ^= 1;
        for wrong in [&our_key[..132], &off_curve, &[4; 133], &[2; 67], &[0], &[]] {
            assert!(secret(P521.start().unwrap(), wrong).is_err());
        }
    }
}
