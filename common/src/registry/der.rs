// SPDX-License-Identifier: Apache-2.0
//! The two fields of a certificate that choosing one needs: its issuer and its public key.
//!
//! The TLS library reads them too, but of certificates of version 3 alone, and `openssl x509 -req` makes those of
//! version 1 where nothing asks for more. Nothing is judged here: whether a certificate is any good, the server says
//! to whom it is shown.

/// A sequence, an integer, and the version where there is one, as DER tags them.
const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;

/// What identifies a certificate's issuer and its key, each as it is in the certificate, its tag included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fields<'a> {
    /// The distinguished name of who signed it.
    pub(super) issuer: &'a [u8],
    /// SubjectPublicKeyInfo.
    pub(super) key: &'a [u8],
}

/// One element: its tag, what is in it, and how many bytes it takes.
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    whole: &'a [u8],
}

/// The fields of a certificate (RFC 5280, section 4.1); nothing when it is none.
pub(super) fn fields(certificate: &[u8]) -> Option<Fields<'_>> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (signed, _) = element(certificate.content, SEQUENCE)?;
    let mut rest = signed.content;
    if rest.first() == Some(&VERSION) {
        rest = element(rest, VERSION)?.1;
    }
    let (_serial, rest) = element(rest, INTEGER)?;
    let (_algorithm, rest) = element(rest, SEQUENCE)?;
    let (issuer, rest) = element(rest, SEQUENCE)?;
    let (_validity, rest) = element(rest, SEQUENCE)?;
    let (_subject, rest) = element(rest, SEQUENCE)?;
    let (key, _) = element(rest, SEQUENCE)?;
    Some(Fields { issuer: issuer.whole, key: key.whole })
}

/// The element of this tag that the bytes begin with, and what is behind it.
fn element(bytes: &[u8], tag: u8) -> Option<(Element<'_>, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (&length, mut rest) = rest.split_first()?;
    let mut size = usize::from(length);
    if length >= 0x80 {
        // The length's own length. Four bytes are more than any certificate takes.
        let digits = usize::from(length & 0x7f);
        if digits == 0 || digits > 4 {
            return None;
        }
        let (big_endian, behind) = rest.split_at_checked(digits)?;
        size = big_endian.iter().fold(0, |size, digit| size << 8 | usize::from(*digit));
        rest = behind;
    }
    let (content, behind) = rest.split_at_checked(size)?;
    let whole = &bytes[..bytes.len() - behind.len()];
    let element = Element { tag: first, content, whole };
    (element.tag == tag).then_some((element, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let mut whole = vec![SEQUENCE, 0x82];
        whole.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
        whole.extend(content);
        whole
    }

    /// A certificate with or without a version in it.
    fn certificate(version: &[u8]) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let (issuer, key) = (sequence(&[b"the issuer"]), sequence(&[&[7; 200]]));
        let other = sequence(&[]);
        let signed = sequence(&[version, &[2, 1, 5], &other, &issuer, &other, &other, &key]);
        (sequence(&[&signed, &other, b"\x03\x01\x00"]), issuer, key)
    }

    #[test]
    fn both_versions_are_read() {
        for version in [&b""[..], b"\xa0\x03\x02\x01\x02"] {
            let (certificate, issuer, key) = certificate(version);
            let expected = Fields { issuer: &issuer, key: &key };
            assert_eq!(fields(&certificate), Some(expected));
        }
    }

    #[test]
    fn what_is_cut_or_lies_about_its_length_is_nothing() {
        let (whole, ..) = certificate(b"");
        for end in 0..whole.len() {
            assert_eq!(fields(&whole[..end]), None, "{end}");
        }
        for lie in [&b"\x30\x80"[..], b"\x30\x85\x01\x01\x01\x01\x01", b"\x30\x84\xff\xff\xff\xff"]
        {
            assert_eq!(fields(lie), None);
        }
    }
}
