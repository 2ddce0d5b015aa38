// SPDX-License-Identifier: Apache-2.0
//! Reads the fields of a certificate that are needed here: subject, issuer, public key, validity;
//! and the type of a key.
//!
//! rustls reads these fields only from certificates of version 3, but `openssl x509 -req` makes
//! certificates of version 1 by default. Nothing is verified here.

// The DER tags of a sequence, an integer, a bit string, an object identifier, and the optional
// version of a certificate.
pub(super) const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT_IDENTIFIER: u8 = 0x06;
const VERSION: u8 = 0xa0;

// The DER tags of a time with a year of two digits, and with a year of four digits.
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Fields of a certificate. Names and key are in DER, including their tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fields<'a> {
    /// The distinguished name of the authority that signed it.
    pub(crate) issuer: &'a [u8],
    /// The distinguished name of its owner.
    pub(crate) subject: &'a [u8],
    /// The start of its validity, in seconds since the epoch; `None` if the time is invalid.
    pub(crate) not_before: Option<u64>,
    /// The end of its validity.
    pub(crate) not_after: Option<u64>,
    /// SubjectPublicKeyInfo.
    pub(crate) key: &'a [u8],
}

/// A DER element: its tag, its content, and all its bytes including tag and length.
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    pub(super) whole: &'a [u8],
}

/// The fields of a certificate (RFC 5280, section 4.1); `None` if it is invalid.
pub(crate) fn fields(certificate: &[u8]) -> Option<Fields<'_>> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (signed, _) = element(certificate.content, SEQUENCE)?;
    let mut rest = signed.content;
    if rest.first() == Some(&VERSION) {
        rest = element(rest, VERSION)?.1;
    }
    let (_serial, rest) = element(rest, INTEGER)?;
    let (_algorithm, rest) = element(rest, SEQUENCE)?;
    let (issuer, rest) = element(rest, SEQUENCE)?;
    let (validity, rest) = element(rest, SEQUENCE)?;
    let (subject, rest) = element(rest, SEQUENCE)?;
    let (key, _) = element(rest, SEQUENCE)?;
    let (not_before, not_after) = times(validity.content);
    Some(Fields {
        issuer: issuer.whole,
        subject: subject.whole,
        not_before,
        not_after,
        key: key.whole,
    })
}

/// The type of a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key<'a> {
    /// The content of its AlgorithmIdentifier.
    pub(crate) algorithm: &'a [u8],
    /// The number of bits of the modulus, for an RSA key.
    pub(crate) rsa_bits: Option<usize>,
}

/// The type of the key in a SubjectPublicKeyInfo with its tag; `None` if it is invalid.
pub(crate) fn key(info: &[u8]) -> Option<Key<'_>> {
    key_in(element(info, SEQUENCE)?.0.content)
}

/// The type of the key in the content of a SubjectPublicKeyInfo; `None` if it is invalid.
pub(crate) fn key_in(content: &[u8]) -> Option<Key<'_>> {
    let (algorithm, rest) = element(content, SEQUENCE)?;
    let (bits, _) = element(rest, BIT_STRING)?;
    Some(Key { algorithm: algorithm.content, rsa_bits: rsa_bits(bits.content) })
}

/// The type of the key in a PKCS #8 document (RFC 5958); `None` if it is invalid.
pub(crate) fn private_key(document: &[u8]) -> Option<Key<'_>> {
    let (document, _) = element(document, SEQUENCE)?;
    let (_version, rest) = element(document.content, INTEGER)?;
    let (algorithm, _) = element(rest, SEQUENCE)?;
    Some(Key { algorithm: algorithm.content, rsa_bits: None })
}

/// The number of bits of the modulus, if the content of a bit string is an RSA key. Keys of other
/// types are points or numbers, not sequences.
fn rsa_bits(content: &[u8]) -> Option<usize> {
    let (unused, key) = content.split_first()?;
    let (key, _) = element(key, SEQUENCE).filter(|_| *unused == 0)?;
    let (modulus, rest) = element(key.content, INTEGER)?;
    element(rest, INTEGER)?;
    let zeros = modulus.content.iter().take_while(|byte| **byte == 0).count();
    let digits = &modulus.content[zeros..];
    let first = digits.first()?;
    Some(digits.len() * 8 - first.leading_zeros() as usize)
}

/// The object identifier at the start of the bytes, without tag and length, and the bytes after it.
pub(crate) fn object_identifier(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (identifier, rest) = element(bytes, OBJECT_IDENTIFIER)?;
    Some((identifier.content, rest))
}

/// The start and the end of a validity period.
fn times(validity: &[u8]) -> (Option<u64>, Option<u64>) {
    let either = |bytes| element(bytes, UTC_TIME).or_else(|| element(bytes, GENERALIZED_TIME));
    let first = either(validity);
    let second = first.as_ref().and_then(|(_, rest)| either(rest));
    let seconds = |found: Option<(Element<'_>, &[u8])>| seconds(&found?.0);
    (seconds(first), seconds(second))
}

/// Converts a time to seconds since the epoch. The forms are `YYMMDDHHMMSSZ`, where years from 50
/// are 1950 to 1999, and `YYYYMMDDHHMMSSZ` (RFC 5280, section 4.1.2.5). A time before the epoch
/// becomes 0.
fn seconds(time: &Element<'_>) -> Option<u64> {
    let text = std::str::from_utf8(time.content).ok()?.strip_suffix('Z')?;
    let years = if time.tag == UTC_TIME { 2 } else { 4 };
    if text.len() != years + 10 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number = |from: usize, to: usize| text[from..to].parse::<i64>().ok();
    let year = match (number(0, years)?, years) {
        (year @ 50.., 2) => 1900 + year,
        (year, 2) => 2000 + year,
        (year, _) => year,
    };
    let at = |i: usize| number(years + 2 * i, years + 2 * i + 2);
    let [month, day, hour, minute, second] = [at(0)?, at(1)?, at(2)?, at(3)?, at(4)?];
    if !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    // Days since the epoch. Years are counted from March, so that a leap day ends its year.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days =
        365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (153 * m + 2) / 5 + day
            - 1
            - 719_468;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    Some(u64::try_from(seconds).unwrap_or(0))
}

/// The element with this tag at the start of the bytes, and the bytes after it.
pub(super) fn element(bytes: &[u8], tag: u8) -> Option<(Element<'_>, &[u8])> {
    any_element(bytes).filter(|(element, _)| element.tag == tag)
}

/// The element at the start of the bytes, and the bytes after it.
pub(super) fn any_element(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (&length, mut rest) = rest.split_first()?;
    let mut size = usize::from(length);
    if length >= 0x80 {
        // The long form: this byte states how many bytes the length has. Four are enough.
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
    Some((Element { tag: first, content, whole }, behind))
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

    /// A certificate with this version field, which may be empty; its issuer (also its subject);
    /// its key.
    fn certificate(version: &[u8]) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let issuer = sequence(&[b"the issuer"]);
        let key = sequence(&[&[7; 200]]);
        let other = sequence(&[]);
        let times = sequence(&[b"\x17\x0d700101000001Z", b"\x18\x0f20500228235959Z"]);
        let signed = sequence(&[version, &[2, 1, 5], &other, &issuer, &times, &issuer, &key]);
        (sequence(&[&signed, &other, b"\x03\x01\x00"]), issuer, key)
    }

    #[test]
    fn certificates_of_versions_1_and_3_are_read() {
        for version in [&b""[..], b"\xa0\x03\x02\x01\x02"] {
            let (certificate, issuer, key) = certificate(version);
            let expected = Fields {
                issuer: &issuer,
                subject: &issuer,
                not_before: Some(1),
                not_after: Some(2_529_705_599),
                key: &key,
            };
            assert_eq!(fields(&certificate), Some(expected));
        }
    }

    #[test]
    fn the_bits_of_an_rsa_key_are_counted() {
        let info = |modulus: &[u8]| {
            let integer = [&[2, u8::try_from(modulus.len()).unwrap()], modulus].concat();
            let numbers = sequence(&[&integer, b"\x02\x03\x01\x00\x01"]);
            let mut bits = vec![BIT_STRING, u8::try_from(numbers.len() + 1).unwrap(), 0];
            bits.extend(numbers);
            sequence(&[&sequence(&[b"\x06\x01\x2a"]), &bits])
        };
        for (modulus, bits) in [
            (&b"\x00\xff\x00"[..], Some(16)),
            (b"\x01\x00", Some(9)),
            (b"\x7f", Some(7)),
            (b"\x00", None),
            (b"", None),
        ] {
            let info = info(modulus);
            let expected = Key { algorithm: b"\x06\x01\x2a", rsa_bits: bits };
            assert_eq!(key(&info), Some(expected));
            for end in 0..info.len() {
                assert_eq!(key(&info[..end]), None, "{end}");
            }
        }
    }

    #[test]
    fn times_are_read() {
        let at = |tag, text: &str| {
            seconds(&Element { tag, content: text.as_bytes(), whole: text.as_bytes() })
        };
        for (tag, text, expected) in [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "500101000000Z", Some(0)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (UTC_TIME, "000229120000Z", Some(951_825_600)),
            (GENERALIZED_TIME, "21000301000000Z", Some(4_107_542_400)),
            (GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799)),
            (GENERALIZED_TIME, "00000101000000Z", Some(0)),
            (UTC_TIME, "701301000000Z", None),
            (UTC_TIME, "700132000000Z", None),
            (UTC_TIME, "700101240000Z", None),
            (UTC_TIME, "700101000000", None),
            (UTC_TIME, "+00101000000Z", None),
            (GENERALIZED_TIME, "700101000000Z", None),
        ] {
            assert_eq!(at(tag, text), expected, "{text}");
        }
    }

    #[test]
    fn a_truncated_certificate_or_a_wrong_length_is_invalid() {
        let (whole, ..) = certificate(b"");
        for end in 0..whole.len() {
            assert_eq!(fields(&whole[..end]), None, "{end}");
        }
        for wrong in
            [&b"\x30\x80"[..], b"\x30\x85\x01\x01\x01\x01\x01", b"\x30\x84\xff\xff\xff\xff"]
        {
            assert_eq!(fields(wrong), None);
        }
    }
}
