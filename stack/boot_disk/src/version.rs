//! Which of two kernels is newer.

use std::cmp::Ordering;

/// Compares releases such as `6.12.9-cloud-amd64` and `6.12.10-cloud-amd64`: runs of digits as numbers, the rest as text.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    while !a.is_empty() && !b.is_empty() {
        let (one, other) = (take(&mut a), take(&mut b));
        let order = match (number(one), number(other)) {
            (Some(one), Some(other)) => one.len().cmp(&other.len()).then(one.cmp(other)),
            _ => one.cmp(other),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    a.len().cmp(&b.len())
}

/// The next run of digits, or of anything else.
fn take<'a>(text: &mut &'a str) -> &'a str {
    let is_digit = text.starts_with(|c: char| c.is_ascii_digit());
    let end = text.find(|c: char| c.is_ascii_digit() != is_digit).unwrap_or(text.len());
    let (run, rest) = text.split_at(end);
    *text = rest;
    run
}

/// A number without its leading zeros.
fn number(run: &str) -> Option<&str> {
    run.starts_with(|c: char| c.is_ascii_digit()).then(|| run.trim_start_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_count_as_numbers() {
        let newer = [
            ("6.12.10-cloud", "6.12.9-cloud"),
            ("7.3", "6.99.99"),
            ("6.12.1", "6.12"),
            ("6.12+deb13-amd64", "6.1+deb13-amd64"),
            ("5.10", "5.9"),
        ];
        for (new, old) in newer {
            assert_eq!(compare(new, old), Ordering::Greater, "{new} {old}");
            assert_eq!(compare(old, new), Ordering::Less, "{old} {new}");
        }
        assert_eq!(compare("6.012", "6.12"), Ordering::Equal);
    }

    proptest! {
        #[test]
        fn it_is_an_order(a in ".{0,12}", b in ".{0,12}", c in "[0-9a.]{0,8}", d in "[0-9a.]{0,8}") {
            prop_assert_eq!(compare(&a, &b), compare(&b, &a).reverse());
            prop_assert_eq!(compare(&c, &d), compare(&d, &c).reverse());
            prop_assert_eq!(compare(&a, &a), Ordering::Equal);
        }
    }
}
