// SPDX-License-Identifier: Apache-2.0
//! Writes and reads the header of Basic authentication.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::secret;

use crate::form::form;

/// The header of Basic authentication (RFC 7617). The password is redacted in all later output.
pub fn basic(user: &str, password: &str) -> String {
    let both = STANDARD.encode(format!("{user}:{password}"));
    secret::keep(&both);
    // A server's error message may repeat the password in its form-encoded spelling.
    secret::keep(form(&[("", password)]).trim_start_matches('='));
    format!("Basic {both}")
}

/// The user name and password in a header of Basic authentication.
pub(crate) fn name_and_password(header: &str) -> Option<(String, String)> {
    let both = STANDARD.decode(header.strip_prefix("Basic ")?).ok()?;
    let both = String::from_utf8(both).ok()?;
    both.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_7617_is_written_and_read() {
        let header = "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==";
        assert_eq!(basic("Aladdin", "open sesame"), header);
        let both = ("Aladdin".to_owned(), "open sesame".to_owned());
        assert_eq!(name_and_password(header), Some(both));
        assert_eq!(name_and_password("Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), None);
    }
}
