//! The functions beyond the language itself.

use std::sync::{Arc, Mutex};

use super::{check, eval_with};
use crate::{Attributes, Authorizer, Decision, Env, PER_CALL_COST_LIMIT, Type, Value, Variables};

#[test]
fn strings_are_counted_in_code_points() {
    check(&[
        ("'hello'.charAt(4)", "\"o\""),
        ("'héllo'.charAt(1)", "\"é\""),
        ("'abc'.charAt(3)", "\"\""),
        ("'abc'.charAt(4)", "error: index out of range: 4"),
        ("'hello mellow'.indexOf('ello')", "1"),
        ("'hello mellow'.indexOf('ello', 2)", "7"),
        ("'hello mellow'.indexOf('jello')", "-1"),
        ("'hello'.indexOf('', 2)", "2"),
        ("'hello'.indexOf('x', -1)", "error: index out of range: -1"),
        ("'héé'.indexOf('é', 2)", "2"),
        ("'hello mellow'.lastIndexOf('ello')", "7"),
        ("'hello mellow'.lastIndexOf('ello', 6)", "1"),
        ("'hello'.lastIndexOf('')", "5"),
        ("'TacoCat'.lowerAscii()", "\"tacocat\""),
        ("'TacoCÆt Xii'.lowerAscii()", "\"tacocÆt xii\""),
        ("'TacoCat'.upperAscii()", "\"TACOCAT\""),
        ("'hello hello'.replace('he', 'we')", "\"wello wello\""),
        ("'hello hello'.replace('he', 'we', 1)", "\"wello hello\""),
        ("'hello hello'.replace('he', 'we', 0)", "\"hello hello\""),
        ("'ab'.replace('', '-')", "\"-a-b-\""),
        ("'hello hello hello'.split(' ')", "[\"hello\", \"hello\", \"hello\"]"),
        ("'hello hello hello'.split(' ', 0)", "[]"),
        ("'hello hello hello'.split(' ', 2)", "[\"hello\", \"hello hello\"]"),
        ("'hello hello'.split(' ', -1)", "[\"hello\", \"hello\"]"),
        ("'añb'.split('')", "[\"a\", \"ñ\", \"b\"]"),
        ("'abc'.split('', 2)", "[\"a\", \"bc\"]"),
        ("''.split(',')", "[\"\"]"),
        ("'tacocat'.substring(4)", "\"cat\""),
        ("'tacocat'.substring(0, 4)", "\"taco\""),
        ("'tacocat'.substring(-1)", "error: index out of range: -1"),
        ("'tacocat'.substring(2, 1)", "error: invalid substring range. start: 2, end: 1"),
        ("'ta©o'.substring(2, 3)", "\"©\""),
        ("'  trim\\n '.trim()", "\"trim\""),
        ("['hello', 'mellow'].join()", "\"hellomellow\""),
        ("['hello', 'mellow'].join(' ')", "\"hello mellow\""),
        ("[].join('/')", "\"\""),
        ("'abc'.contains('b')", "true"),
        ("'abc'.startsWith('ab')", "true"),
        ("'abc'.endsWith('bc')", "true"),
        (r#"strings.quote('a"b\n')"#, r#""\"a\\\"b\\n\"""#),
        ("'%s is %d'.format([dyn('a'), dyn(1)])", "\"a is 1\""),
        ("'%.2f'.format([1.005])", "\"1.00\""),
        ("'%x %X %b %o'.format([255, 255, 5, 8])", "\"ff FF 101 10\""),
        ("'%s'.format([[1, 2]])", "\"[1, 2]\""),
        ("'%s'.format([{'a': true}])", "\"{\\\"a\\\": true}\""),
        ("'100%%'.format([])", "\"100%\""),
        (
            "'%d'.format(['a'])",
            "error: error during formatting: decimal clause can only be used on integers, was given string",
        ),
        ("'%s'.format([])", "error: index 0 out of range"),
    ]);
}

#[test]
fn patterns_find_as_re2_does() {
    check(&[
        ("'abc 123'.find('[0-9]+')", "\"123\""),
        ("'abc'.find('[0-9]+')", "\"\""),
        ("'123 abc 456'.findAll('[0-9]+')", "[\"123\", \"456\"]"),
        ("'123 abc 456'.findAll('[0-9]+', 1)", "[\"123\"]"),
        ("'123 abc 456'.findAll('[0-9]+', -1)", "[\"123\", \"456\"]"),
        ("'hello'.matches('^h.*o$')", "true"),
        ("'hello'.matches('ell')", "true"),
        ("matches('hello', '^ell')", "false"),
        ("'hello'.matches('(')", "issue: ERROR: <input>:1:17: invalid matches argument"),
        ("'hello'.matches(dyn('h+'))", "true"),
    ]);
    assert!(eval_with("'hello'.matches(x)", &"(".into()).starts_with("error: error parsing regexp: "));
}

#[test]
fn lists_have_their_functions() {
    check(&[
        ("[1, 2, 3].isSorted()", "true"),
        ("[3, 1].isSorted()", "false"),
        ("['a', 'b', 'b'].isSorted()", "true"),
        ("[1, 2, 3].sum()", "6"),
        ("[1.5, 2.5].sum()", "4.0"),
        ("[duration('1s'), duration('2s')].sum() == duration('3s')", "true"),
        ("[9223372036854775807, 1].sum()", "error: integer overflow"),
        ("[3, 1, 2].min()", "1"),
        ("[3, 1, 2].max()", "3"),
        ("['a', 'c', 'b'].max()", "\"c\""),
        ("dyn([]).max()", "error: max called on empty list"),
        ("[1, 2, 2, 3].indexOf(2)", "1"),
        ("[1, 2, 2, 3].lastIndexOf(2)", "2"),
        ("[1].indexOf(5)", "-1"),
        ("[1, 2].includes(2)", "true"),
        ("[1, 2, 3, 4].slice(1, 3)", "[2, 3]"),
        ("[1].slice(0, 2)", "error: cannot slice(0, 2), list is length 1"),
        ("[[1, 2], [3]].flatten()", "[1, 2, 3]"),
        ("[[dyn(1), dyn([2, 3])], [dyn(4)]].flatten(2)", "[1, 2, 3, 4]"),
        ("[[dyn(1)]].flatten(-1)", "error: level must be non-negative"),
        ("[3, 1, 2].sort()", "[1, 2, 3]"),
        ("['b', 'a'].sort()", "[\"a\", \"b\"]"),
        ("[1, 2, 1, 2].distinct()", "[1, 2]"),
        ("[1, 2, 3].reverse()", "[3, 2, 1]"),
        ("lists.range(4)", "[0, 1, 2, 3]"),
        ("[1, 2].first()", "some(1)"),
        ("[1, 2].last()", "some(2)"),
        ("['bb', 'a'].sortBy(s, s.size())", "[\"a\", \"bb\"]"),
        ("sets.contains([1, 2], [2])", "true"),
        ("sets.contains([1], [2])", "false"),
        ("sets.equivalent([1, 1, 2], [2, 1])", "true"),
        ("sets.intersects([1, 2], [2, 3])", "true"),
        ("sets.intersects([1], [])", "false"),
    ]);
}

#[test]
fn quantities_and_versions_compare() {
    check(&[
        ("quantity('50k').add(quantity('20k')) == quantity('70k')", "true"),
        ("quantity('1.5Gi').isGreaterThan(quantity('1Gi'))", "true"),
        ("quantity('200M').compareTo(quantity('0.2G'))", "0"),
        ("quantity('50k').sub(20000) == quantity('30k')", "true"),
        ("quantity('50k').asInteger()", "50000"),
        ("quantity('50m').isInteger()", "false"),
        ("quantity('50m').asInteger()", "error: cannot convert value to integer"),
        ("quantity('50.5').asApproximateFloat()", "50.5"),
        ("quantity('-1').sign()", "-1"),
        ("isQuantity('1.3Gi')", "true"),
        ("isQuantity('1.3GGi')", "false"),
        ("quantity('1kk')", "error: unable to parse quantity's suffix"),
        ("semver('1.2.3').isLessThan(semver('1.10.0'))", "true"),
        ("semver('1.0.0-alpha').isLessThan(semver('1.0.0'))", "true"),
        ("semver('1.0.0-alpha.1').isLessThan(semver('1.0.0-alpha.beta'))", "true"),
        ("semver('1.0.0+a') == semver('1.0.0+b')", "true"),
        ("semver('1.2.3').compareTo(semver('1.2.3'))", "0"),
        ("semver('1.2.3').minor()", "2"),
        ("isSemver('v1.0')", "false"),
        ("isSemver('v1.0', true)", "true"),
        ("semver('v01.01', true) == semver('1.1.0')", "true"),
        ("isSemver('01.1.1')", "false"),
        ("isSemver('1.0.0-01')", "false"),
    ]);
}

#[test]
fn networks_and_urls_are_taken_apart() {
    check(&[
        ("isIP('127.0.0.1')", "true"),
        ("isIP('::1')", "true"),
        ("isIP('127.0.0.256')", "false"),
        ("isIP('010.0.0.1')", "false"),
        ("isIP('::ffff:1.2.3.4')", "false"),
        ("isIP('fe80::1%eth0')", "false"),
        ("ip.isCanonical('2001:db8::abcd')", "true"),
        ("ip.isCanonical('2001:DB8::ABCD')", "false"),
        ("ip('192.168.0.1').family()", "4"),
        ("ip('::1').isLoopback()", "true"),
        ("ip('0.0.0.0').isUnspecified()", "true"),
        ("ip('224.0.0.1').isLinkLocalMulticast()", "true"),
        ("ip('169.254.169.254').isLinkLocalUnicast()", "true"),
        ("ip('192.168.0.1').isGlobalUnicast()", "true"),
        ("ip('255.255.255.255').isGlobalUnicast()", "false"),
        ("string(ip('2001:DB8::ABCD'))", "\"2001:db8::abcd\""),
        ("ip('10.0.0.1') == ip('10.0.0.1')", "true"),
        ("isCIDR('192.168.0.0/24')", "true"),
        ("isCIDR('192.168.0.0/33')", "false"),
        ("isCIDR('192.168.0.0/024')", "false"),
        ("cidr('192.168.0.0/24').containsIP('192.168.0.1')", "true"),
        ("cidr('192.168.0.0/24').containsIP(ip('192.168.1.1'))", "false"),
        ("cidr('192.168.0.0/16').containsCIDR('192.168.10.0/24')", "true"),
        ("cidr('192.168.0.0/24').containsCIDR(cidr('192.168.0.0/16'))", "false"),
        ("cidr('192.168.1.5/24').masked() == cidr('192.168.1.0/24')", "true"),
        ("cidr('192.168.1.5/24').prefixLength()", "24"),
        ("string(cidr('192.168.1.5/24').ip())", "\"192.168.1.5\""),
        ("cidr('0.0.0.0/0').containsIP('8.8.8.8')", "true"),
        ("cidr('::/0').containsIP('8.8.8.8')", "false"),
        ("url('https://user:pass@example.com:80/path?query=val#fragment').getHost()", "\"example.com:80\""),
        ("url('https://example.com:80/').getPort()", "\"80\""),
        ("url('https://[::1]:80/').getHostname()", "\"::1\""),
        ("url('https://[::1]:80/').getHost()", "\"[::1]:80\""),
        ("url('/path').getScheme()", "\"\""),
        ("url('https://example.com/path with spaces/').getEscapedPath()", "\"/path%20with%20spaces/\""),
        ("url('https://example.com/path?k1=a&k2=b&k2=c').getQuery()", "{\"k1\": [\"a\"], \"k2\": [\"b\", \"c\"]}"),
        ("url('https://example.com/path?key with spaces=value').getQuery()", "{\"key with spaces\": [\"value\"]}"),
        ("isURL('https://example.com')", "true"),
        ("isURL('/absolute')", "true"),
        ("isURL('../relative')", "false"),
        ("isURL('https://a:b:c/')", "false"),
        ("isURL('')", "false"),
    ]);
}

#[test]
fn formats_say_what_is_wrong() {
    check(&[
        ("format.dns1123Label().validate('my-label')", "none"),
        ("format.dns1123Label().validate('My').hasValue()", "true"),
        ("!format.dns1123Label().validate('contains a dot.').hasValue()", "false"),
        ("format.dns1123LabelPrefix().validate('my-label-')", "none"),
        ("format.dns1123Subdomain().validate('apiextensions.k8s.io')", "none"),
        ("format.qualifiedName().validate('apiextensions.k8s.io/v1beta1')", "none"),
        ("format.labelValue().validate('my-cool-label-Value')", "none"),
        ("format.uri().validate('http://example.com')", "none"),
        ("format.uuid().validate('123e4567-e89b-12d3-a456-426614174000')", "none"),
        ("format.byte().validate('aGVsbG8=')", "none"),
        ("format.date().validate('2021-01-01')", "none"),
        ("format.datetime().validate('2021-01-01T00:00:00Z')", "none"),
        ("format.date().validate('1').value()", "[\"invalid date\"]"),
        ("format.named('dns1123Label').value().validate('a')", "none"),
        ("format.named('nothing')", "none"),
    ]);
}

#[test]
fn mathematics_is_there() {
    check(&[
        ("math.greatest(1, 2u, 3.5)", "3.5"),
        ("math.least([3, 1, 2])", "1"),
        ("math.greatest(5)", "5"),
        ("math.ceil(1.2)", "2.0"),
        ("math.round(-1.5)", "-2.0"),
        ("math.abs(-5)", "5"),
        ("math.abs(-9223372036854775808)", "error: integer overflow"),
        ("math.sign(-3)", "-1"),
        ("math.isNaN(0.0 / 0.0)", "true"),
        ("math.bitAnd(3, 6)", "2"),
        ("math.bitShiftRight(-1, 60)", "15"),
        ("math.bitShiftLeft(1, 64)", "0"),
        ("math.sqrt(9)", "3.0"),
    ]);
}

#[test]
fn mutations_make_objects() {
    check(&[
        ("Object{spec: Object.spec{replicas: 3}}", r#"{"spec":{"replicas":3}}"#),
        ("Object{?spec: optional.none()}", "{}"),
        (
            "Object{spec: Object.metadata{}}",
            "error: unexpected type name \"Object.metadata\", expected \"Object.spec\", which matches field name path from root Object type",
        ),
        ("JSONPatch{op: 'add', path: '/a', value: 1}", r#"{"op":"add","path":"/a","value":1}"#),
        (
            "JSONPatch{op: 1}",
            "issue: ERROR: <input>:1:13: expected type of field 'op' is 'string' but provided type is 'int'",
        ),
        ("JSONPatch{nope: 1}", "issue: ERROR: <input>:1:15: undefined field 'nope'"),
        (
            "[JSONPatch{op: 'remove', path: '/a/' + jsonpatch.escapeKey('a/b~c')}]",
            "[{\"op\":\"remove\",\"path\":\"/a/a~1b~0c\"}]",
        ),
        ("Other{}", "issue: ERROR: <input>:1:6: undeclared reference to 'Other' (in container '')"),
    ]);
    assert!(Env::new().compile("Object{}").is_err());
}

#[derive(Debug, Default)]
struct Recorder(Mutex<Vec<Attributes>>);

impl Authorizer for Recorder {
    fn authorize(&self, attributes: &Attributes) -> Decision {
        if let Ok(mut asked) = self.0.lock() {
            asked.push(attributes.clone());
        }
        Decision { allowed: attributes.verb == "create", reason: "because".to_string(), error: None }
    }
}

#[test]
fn the_authorizer_is_asked_with_what_was_said() {
    let env = Env::new().with_variable("authorizer", Type::Opaque("kubernetes.authorization.Authorizer"));
    let expression = "authorizer.serviceAccount('ns', 'sa').group('apps').resource('deployments').subresource('scale')\
                      .namespace('default').name('web').check('create').allowed()";
    let program = env.compile_to(expression, &[Type::Bool]).expect("it compiles");
    let recorder = Arc::new(Recorder::default());
    let variables = Variables::new().with("authorizer", Value::authorizer(recorder.clone()));
    let outcome = program.eval(&variables, PER_CALL_COST_LIMIT);
    assert!(matches!(outcome.result, Ok(Value::Bool(true))));
    assert!(outcome.cost >= 350_000, "{}", outcome.cost);
    let asked = recorder.0.lock().expect("nobody panicked").clone();
    let expected = Attributes {
        service_account: Some(("ns".into(), "sa".into())),
        verb: "create".into(),
        group: "apps".into(),
        resource: "deployments".into(),
        subresource: "scale".into(),
        namespace: "default".into(),
        name: "web".into(),
        ..Attributes::default()
    };
    assert_eq!(asked, [expected]);

    let checks = "authorizer.path('/healthz').check('get').reason() == 'because' || ";
    let program = env.compile(&format!("{}false", checks.repeat(3).replace("==", "!="))).expect("it compiles");
    let outcome = program.eval(&variables, PER_CALL_COST_LIMIT);
    assert!(outcome.result.is_err_and(|error| error.exceeds_cost()), "three checks are too many for one expression");
}
