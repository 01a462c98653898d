//! The decoders that CEL's libraries bring: addresses, networks, URLs, quantities, versions, formats, durations and
//! timestamps, patterns, on any text.
#![no_main]

use std::sync::LazyLock;

use cel::{Env, Program, Type, Value, Variables};
use libfuzzer_sys::fuzz_target;

/// `s` and `t` are any texts. What ends in `|| true` has to be true wherever it is not an error.
const EXPRESSIONS: &[&str] = &[
    "isIP(s) ? string(ip(string(ip(s)))) == string(ip(s)) : true",
    "isIP(s) ? ip(s).family() in [4, 6] : true",
    "isIP(s) ? ip(s).isLoopback() || ip(s).isGlobalUnicast() || true : true",
    "isIP(s) ? cidr(string(ip(s)) + (ip(s).family() == 4 ? '/32' : '/128')).containsIP(ip(s)) : true",
    "isCIDR(s) ? string(cidr(string(cidr(s)))) == string(cidr(s)) : true",
    "isCIDR(s) ? cidr(s).masked().containsCIDR(cidr(s).masked()) : true",
    "isCIDR(s) ? cidr(s).prefixLength() <= 128 && cidr(s).containsIP(cidr(s).ip()) : true",
    "ip.isCanonical(s) || true",
    "isURL(s) ? url(s).getHost() + url(s).getHostname() + url(s).getPort() + url(s).getScheme() + url(s).getEscapedPath() != '\\n' : true",
    "isURL(s) ? url(s).getQuery().all(k, k != '\\n\\n' || true) : true",
    "isQuantity(s) ? quantity(s).compareTo(quantity(s)) == 0 : true",
    "isQuantity(s) ? quantity(s).add(quantity('1')).isGreaterThan(quantity(s)) || true : true",
    "isQuantity(s) ? quantity(s).isInteger() || quantity(s).asApproximateFloat() <= 1.0 || true : true",
    "isSemver(s) ? semver(s).compareTo(semver(s)) == 0 && semver(s).major() >= 0 : true",
    "isSemver(s, true) || true",
    "duration(s) == duration(string(duration(s)))",
    "timestamp(s) == timestamp(string(timestamp(s)))",
    "timestamp(s).getFullYear(t) > 0",
    "timestamp(s).getHours() < 24 && timestamp(s).getDayOfWeek() < 7",
    "!format.dns1123Label().validate(s).hasValue() || true",
    "!format.date().validate(s).hasValue() || true",
    "!format.datetime().validate(s).hasValue() || true",
    "!format.uri().validate(s).hasValue() || true",
    "!format.byte().validate(s).hasValue() || true",
    "s.matches(t) || true",
    "s.find(t) == '' || s.contains(s.find(t))",
    "s.findAll(t).all(f, s.contains(f))",
    "s.split(t).join(t) == s || t == ''",
    "s.replace(t, t) == s || true",
    "s.lowerAscii().size() == s.size() && s.trim().size() <= s.size()",
    "s.substring(0, s.size()) == s",
    "s.indexOf(t) <= s.lastIndexOf(t)",
    "strings.quote(s).size() >= s.size()",
    "s.format([t]) == '' || true",
    "int(s) == int(string(int(s)))",
    "uint(s) == uint(string(uint(s)))",
    "double(s) == double(string(double(s))) || true",
    "string(bytes(s)) == s",
    "bool(s) || true",
];

static PROGRAMS: LazyLock<Vec<(&str, Program)>> = LazyLock::new(|| {
    let env = Env::new().with_variable("s", Type::String).with_variable("t", Type::String);
    let compiled =
        |source: &&'static str| (*source, env.compile(source).unwrap_or_else(|error| panic!("{source}: {error}")));
    EXPRESSIONS.iter().map(compiled).collect()
});

fuzz_target!(|data: &[u8]| {
    let Some([s, t]) = fuzz::parts::<2>(data) else { return };
    for (source, program) in PROGRAMS.iter() {
        let variables = Variables::new().with("s", Value::from(s)).with("t", Value::from(t));
        if let Ok(value) = program.eval(&variables, cel::PER_CALL_COST_LIMIT).result {
            assert!(matches!(value, Value::Bool(true)), "{source}: {s:?} {t:?}");
        }
    }
});
