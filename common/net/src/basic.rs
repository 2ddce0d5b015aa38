// SPDX-License-Identifier: Apache-2.0
//! The header of Basic authentication, written and read.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::secret;

use crate::form::form;

/// The header of Basic authentication (RFC 7617).
pub fn basic(user: &str, password: &str) -> String {
    let both = STANDARD.encode(format!("{user}:{password}"));
    secret::keep(&both);
    // A server may say it back as a form has it.
    secret::keep(form(&[("", password)]).trim_start_matches('='));
    format!("Basic {both}")
}

/// What such a header holds.
pub(crate) fn name_and_password(header: &str) -> Option<(String, String)> {
    let both = STANDARD.decode(header.strip_prefix("Basic ")?).ok()?;
    let both = String::from_utf8(both).ok()?;
    both.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_is_that_of_the_standard() {
        let header = "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==";
        assert_eq!(basic("Aladdin", "open sesame"), header);
        let both = ("Aladdin".to_owned(), "open sesame".to_owned());
        assert_eq!(name_and_password(header), Some(both));
        assert_eq!(name_and_password("Bearer QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), None);
    }
}
