use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Quantity {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn the_canonical_form_of_what_people_write() {
    let cases = [
        ("0", "0"),
        ("0.0", "0"),
        ("-0", "0"),
        ("0Ki", "0"),
        ("1", "1"),
        ("+1", "1"),
        ("1000m", "1"),
        ("100m", "100m"),
        ("0.1", "100m"),
        ("1.5", "1500m"),
        (".5", "500m"),
        ("5.", "5"),
        ("1500", "1500"),
        ("1000", "1k"),
        ("100000", "100k"),
        ("1024", "1024"),
        ("1Ki", "1Ki"),
        ("1024Ki", "1Mi"),
        ("1.5Gi", "1536Mi"),
        ("128Mi", "128Mi"),
        ("0.5Ki", "512"),
        ("1.1Ki", "1126400m"),
        ("1e3", "1e3"),
        ("12e2", "1200"),
        ("1E3", "1e3"),
        ("1e-3", "1e-3"),
        ("1E", "1E"),
        ("1000E", "1000E"),
        ("-5m", "-5m"),
        ("-1Gi", "-1Gi"),
        ("0.0000000001", "1n"),
        ("1.0000000001", "1000000001n"),
        ("0.1n", "1n"),
        ("16Ei", "9223372036854775807"),
        ("9223372036854775807", "9223372036854775807"),
        ("000100", "100"),
    ];
    for (text, canonical) in cases {
        assert_eq!(parse(text).to_string(), canonical, "{text}");
        assert_eq!(parse(canonical).to_string(), canonical, "{canonical} is not stable");
    }
}

#[test]
fn what_is_no_quantity_is_refused_with_kubernetes_words() {
    let cases = [
        ("", ParseError::Format),
        ("a", ParseError::Format),
        ("1.1.1", ParseError::Format),
        ("1+1", ParseError::Suffix),
        ("-", ParseError::Format),
        (".", ParseError::Number),
        (" 1", ParseError::Format),
        ("1 ", ParseError::Format),
        ("1Gb", ParseError::Format),
        ("0.1mi", ParseError::Suffix),
        ("1i", ParseError::Suffix),
        ("1K", ParseError::Suffix),
        ("1e", ParseError::Suffix),
        ("1e99999999999", ParseError::Suffix),
        ("1e30", ParseError::TooLarge),
        ("ä", ParseError::Format),
    ];
    for (text, error) in cases {
        assert_eq!(text.parse::<Quantity>(), Err(error), "{text:?}");
    }
    assert_eq!("1".repeat(200).parse::<Quantity>(), Err(ParseError::TooLarge));
    assert!(format!("0.{}Gi", "3".repeat(100)).parse::<Quantity>().is_ok());
    assert!(format!("0.{}", "3".repeat(100)).parse::<Quantity>().unwrap().to_string().ends_with("334n"));
}

#[test]
fn amounts_compare_and_convert_whatever_they_are_written_in() {
    assert_eq!(parse("1Gi"), parse("1024Mi"));
    assert_eq!(parse("1"), parse("1000m"));
    assert!(parse("1G") < parse("1Gi"));
    assert_eq!(parse("100m").to_millis(), 100);
    assert_eq!(parse("1u").to_millis(), 1);
    assert_eq!(parse("-1u").to_millis(), -1);
    assert_eq!(parse("64Mi").to_bytes(), 64 << 20);
    assert_eq!(parse("100m").to_units(), 1);
    assert_eq!(parse("100E").to_units(), i64::MAX);
    assert_eq!(Quantity::from_bytes(2 << 30).to_string(), "2Gi");
    assert_eq!(Quantity::from_millis(2500).to_string(), "2500m");
}

#[test]
fn a_sum_keeps_the_format_of_what_it_began_with() {
    let total: Quantity = ["64Mi", "64Mi", "1Gi"].into_iter().map(parse).sum();
    assert_eq!(total.to_string(), "1152Mi");
    assert_eq!((parse("1Gi") - parse("1Gi")).to_string(), "0");
    assert_eq!((parse("250m") - parse("1")).to_string(), "-750m");
}

proptest! {
    #[test]
    fn any_text_is_taken_or_refused(text in ".{0,40}") {
        let _ = text.parse::<Quantity>();
    }

    #[test]
    fn the_canonical_form_says_the_same_amount(text in "[+-]?[0-9]{0,7}\\.?[0-9]{1,7}(n|u|m||k|M|G|T|Ki|Mi|Gi|Ti|Pi|e3|e-2|E5)") {
        let quantity = parse(&text);
        let canonical = quantity.to_string();
        prop_assert_eq!(parse(&canonical), quantity);
        prop_assert_eq!(parse(&canonical).to_string(), canonical);
    }

    #[test]
    fn adding_and_taking_away_is_exact(a in any::<i64>(), b in any::<i64>()) {
        let (a, b) = (Quantity::from_nanos(a), Quantity::from_millis(b));
        prop_assert_eq!(a + b - b, a);
        prop_assert_eq!(a + b, b + a);
        prop_assert_eq!((a + b).cmp(&a), b.cmp(&Quantity::default()));
    }
}
