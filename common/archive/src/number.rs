// SPDX-License-Identifier: Apache-2.0
//! Numbers in tar headers (octal text, or base-256 for values that do not fit as octal text), and
//! the decimal numbers of extended headers.
//!
//! Not here: the meaning of a number. Its range is checked where the field is used.

/// Parses the number in a header field: base-256 if the first byte is 0x80 or 0xff, else octal. A
/// field of NULs is zero. A field of spaces with a NUL at its end is also zero.
///
/// Returns `None` for fields that Go, GNU tar and libarchive read differently: a field that has
/// only spaces, a field that has other bytes than NULs and spaces after the digits, and base-256
/// with a first byte other than 0x80 and 0xff.
pub(crate) fn numeric(field: &[u8]) -> Option<i64> {
    match field.first() {
        Some(0x80 | 0xff) => base256(field),
        _ => octal(field),
    }
}

/// Parses octal digits. Spaces may precede them, and spaces and NULs may follow them. A field
/// without digits is 0 if it has only NULs, or if it begins with spaces and a NUL follows them. Old
/// Maven archives have IDs of seven spaces and a NUL.
pub(crate) fn octal(field: &[u8]) -> Option<i64> {
    if field.iter().all(|byte| *byte == 0) {
        return Some(0);
    }
    let start = field.iter().position(|byte| *byte != b' ')?;
    let end = field[start..].iter().position(|byte| matches!(byte, b' ' | 0));
    let (digits, rest) = field[start..].split_at(end.unwrap_or(field.len() - start));
    // If the field begins with a NUL, the number ends there for some readers but not for others.
    if digits.is_empty() && (start == 0 || rest.is_empty()) {
        return None;
    }
    if !rest.iter().all(|byte| matches!(byte, b' ' | 0)) {
        return None;
    }
    value(digits)
}

/// Whether Go's archive/tar parses a field as a number. Go accepts more fields than [`numeric`].
pub(crate) fn go_parses_number(field: &[u8]) -> bool {
    if field.first().is_some_and(|first| first & 0x80 != 0) {
        return base256(field).is_some();
    }
    let is_filler = |byte: &u8| matches!(byte, b' ' | 0);
    let Some(start) = field.iter().position(|byte| !is_filler(byte)) else { return true };
    let end = field.iter().rposition(|byte| !is_filler(byte)).map_or(start, |last| last + 1);
    value(field[start..end].split(|byte| *byte == 0).next().unwrap_or_default()).is_some()
}

fn value(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0i64, |value, byte| match byte {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(byte - b'0')),
        _ => None,
    })
}

/// Parses a big-endian two's complement number whose first bit is only a marker.
fn base256(field: &[u8]) -> Option<i64> {
    let negative = field.first()? & 0x40 != 0;
    let flip = if negative { 0xff } else { 0 };
    let mut value = 0u64;
    for (i, byte) in field.iter().enumerate() {
        let mut byte = byte ^ flip;
        if i == 0 {
            byte &= 0x7f;
        }
        if value >> 56 != 0 {
            return None;
        }
        value = value << 8 | u64::from(byte);
    }
    let value = i64::try_from(value).ok()?;
    Some(if negative { !value } else { value })
}

/// Writes a number as octal digits, padded with zeros on the left and ended by a NUL. Digits that
/// do not fit are dropped, so the caller must first compare the number with the field's maximum.
pub(crate) fn put_octal(field: &mut [u8], mut value: u64) {
    let mut places = field.iter_mut().rev();
    if let Some(end) = places.next() {
        *end = 0;
    }
    for place in places {
        *place = b'0' + (value & 7) as u8;
        value >>= 3;
    }
}

/// Parses a number of decimal digits only: no sign, no space.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A time since the epoch. The nanoseconds are added to the seconds, even for a time before the
/// epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// Nanoseconds after the whole second, less than 10^9.
    pub nanoseconds: u32,
}

/// Parses a time of an extended header, `[-]SECONDS[.FRACTION]`, and rounds it down to nanoseconds.
pub(crate) fn time(text: &[u8]) -> Option<Time> {
    let (negative, unsigned) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = match unsigned.iter().position(|byte| *byte == b'.') {
        Some(dot) => (&unsigned[..dot], &unsigned[dot + 1..]),
        None => (unsigned, &b""[..]),
    };
    let whole = i64::try_from(decimal(whole)?).ok()?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |i: usize| u32::from(fraction.get(i).map_or(0, |byte| byte - b'0'));
    let nanoseconds = (0..9).fold(0, |value, i| value * 10 + digit(i));
    if !negative {
        return Some(Time { seconds: whole, nanoseconds });
    }
    let finer = fraction.iter().skip(9).any(|byte| *byte != b'0');
    match nanoseconds + u32::from(finer) {
        0 => Some(Time { seconds: -whole, nanoseconds: 0 }),
        below => {
            Some(Time { seconds: (-whole).checked_sub(1)?, nanoseconds: 1_000_000_000 - below })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_fields_in_their_spellings() {
        assert_eq!(numeric(b"0000644\0"), Some(0o644));
        assert_eq!(numeric(b"   644 \0"), Some(0o644));
        assert_eq!(numeric(b"777777777777"), Some(0o777_777_777_777));
        assert_eq!(numeric(b"644 \0 \0"), Some(0o644));
        assert_eq!(numeric(b"\0\0\0\0"), Some(0));
        assert_eq!(numeric(b""), Some(0));
        assert_eq!(numeric(b"       \0"), Some(0));
        assert_eq!(numeric(b" \0\0\0\0\0\0\0"), Some(0));
        assert_eq!(numeric(b"  \0  "), Some(0));
        for wrong in [
            &b"0000648\0"[..],
            b"12 34\0",
            b"-1\0",
            b"0x10\0",
            b"\0\0 12",
            // At least one of Go, GNU tar and libarchive reads these as other numbers.
            b"\x000000644",
            b"644\0junk",
            b"644\x00007",
            b"        ",
            b"\0       ",
            b"  \0 x",
            b"\t0000644",
            b"\x81\0\0\0\0\0\0\x05",
        ] {
            assert_eq!(numeric(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn base256_at_its_edges() {
        assert_eq!(numeric(b"\x80\0\0\0\0\0\0\0\0\0\0\x01"), Some(1));
        assert_eq!(numeric(&[0xff; 12]), Some(-1));
        let mut most = [0xff; 12];
        most[..5].copy_from_slice(&[0x80, 0, 0, 0, 0x7f]);
        assert_eq!(numeric(&most), Some(i64::MAX));
        most[4] = 0xff;
        assert_eq!(numeric(&most), None);
        most[3] = 1;
        assert_eq!(numeric(&most), None);
    }

    #[test]
    fn octal_is_read_as_it_was_written() {
        let mut field = [0xff; 8];
        put_octal(&mut field, 0o644);
        assert_eq!(&field, b"0000644\0");
        for value in [0, 1, 0o7_777_777] {
            put_octal(&mut field, value);
            assert_eq!(numeric(&field), i64::try_from(value).ok());
        }
    }

    #[test]
    fn decimals_are_digits_only() {
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        for wrong in ["", "+1", " 1", "-1", "0x1", "1e3", "18446744073709551616"] {
            assert_eq!(decimal(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn times_round_down() {
        let at = |text: &str| time(text.as_bytes()).map(|t| (t.seconds, t.nanoseconds));
        assert_eq!(at("1350244992.023960108"), Some((1_350_244_992, 23_960_108)));
        assert_eq!(at("-1.5"), Some((-2, 500_000_000)));
        assert_eq!(at("-0.5"), Some((-1, 500_000_000)));
        assert_eq!(at("-0.0000000001"), Some((-1, 999_999_999)));
        assert_eq!(at("5"), Some((5, 0)));
        assert_eq!(at("-5"), Some((-5, 0)));
        assert_eq!(at("5."), Some((5, 0)));
        assert_eq!(at(&format!("1.{}", "9".repeat(1000))), Some((1, 999_999_999)));
        for wrong in
            ["", "-", ".5", "nan", "inf", "1e9", "1.2.3", "1.-5", "+1", "9223372036854775808"]
        {
            assert_eq!(at(wrong), None, "{wrong}");
        }
    }
}
