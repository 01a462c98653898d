//! Which functions there are, with which types: tables of one line an overload.
//!
//! `size_list list(A)::size() int` is a method of lists (`list.size()`), `list_size size(list(A)) int` a function.
//! Letters A to C stand for any type. What a function does is in [`crate::library`], by its name.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use crate::types::{OPAQUE, Type};

/// One way to call a function.
#[derive(Debug)]
pub(crate) struct Overload {
    pub id: &'static str,
    pub is_member: bool,
    /// With the receiver first; type parameters are `Var(0)` to `Var(2)`.
    pub args: Vec<Type>,
    pub result: Type,
    /// How many type parameters there are.
    pub parameters: usize,
}

/// All functions by name.
pub(crate) static FUNCTIONS: LazyLock<HashMap<&'static str, Vec<Overload>>> = LazyLock::new(|| {
    let mut functions: HashMap<&'static str, Vec<Overload>> = HashMap::new();
    for table in [OPERATORS, STANDARD, TIME, STRINGS, LISTS, KUBERNETES, NETWORK, AUTHORIZATION, OPTIONAL, MATH] {
        for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
            // A line that cannot be read is a fault of the tables, which a test reads whole.
            if let Some((name, overload)) = read(line) {
                functions.entry(name).or_default().push(overload);
            }
        }
    }
    functions
});

fn read(line: &'static str) -> Option<(&'static str, Overload)> {
    let (id, rest) = line.split_once(' ')?;
    let (signature, result) = rest.rsplit_once(") ")?;
    let (receiver, signature) = match signature.split_once("::") {
        Some((receiver, signature)) => (Some(receiver), signature),
        None => (None, signature),
    };
    let (name, args) = signature.split_once('(')?;
    let mut types: Vec<Type> = Vec::new();
    for text in receiver.into_iter().chain(split(args)) {
        types.push(read_type(text)?);
    }
    let result = read_type(result)?;
    let parameters = ["A", "B", "C"]
        .iter()
        .take_while(|letter| {
            line.contains(**letter) && line.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == **letter)
        })
        .count();
    Some((name, Overload { id, is_member: receiver.is_some(), args: types, result, parameters }))
}

/// Parts between the commas that are in no brackets.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    if !text[start..].trim().is_empty() {
        parts.push(text[start..].trim());
    }
    parts
}

fn read_type(text: &str) -> Option<Type> {
    let inner = |prefix: &str| text.strip_prefix(prefix)?.strip_suffix(')');
    if let Some(element) = inner("list(") {
        return Some(Type::list(read_type(element)?));
    }
    if let Some(element) = inner("optional(") {
        return Some(Type::optional(read_type(element)?));
    }
    if let Some(element) = inner("type(") {
        return Some(Type::Type(Some(Arc::new(read_type(element)?))));
    }
    if let Some(parts) = inner("map(") {
        let [key, value] = split(parts)[..] else { return None };
        return Some(Type::map(read_type(key)?, read_type(value)?));
    }
    match text {
        "A" => Some(Type::Var(0)),
        "B" => Some(Type::Var(1)),
        "C" => Some(Type::Var(2)),
        "dyn" => Some(Type::Dyn),
        "null" => Some(Type::Null),
        "bool" => Some(Type::Bool),
        "int" => Some(Type::Int),
        "uint" => Some(Type::Uint),
        "double" => Some(Type::Double),
        "string" => Some(Type::String),
        "bytes" => Some(Type::Bytes),
        "duration" => Some(Type::Duration),
        "timestamp" => Some(Type::Timestamp),
        _ => OPAQUE.iter().find(|(name, _)| name.rsplit('.').next() == Some(text)).map(|(name, _)| Type::Opaque(name)),
    }
}

const OPERATORS: &str = "
    conditional _?_:_(bool, A, A) A
    logical_and _&&_(bool, bool) bool
    logical_or _||_(bool, bool) bool
    logical_not !_(bool) bool
    not_strictly_false @not_strictly_false(bool) bool
    equals _==_(A, A) bool
    not_equals _!=_(A, A) bool
    add_bytes _+_(bytes, bytes) bytes
    add_double _+_(double, double) double
    add_duration_duration _+_(duration, duration) duration
    add_duration_timestamp _+_(duration, timestamp) timestamp
    add_timestamp_duration _+_(timestamp, duration) timestamp
    add_int64 _+_(int, int) int
    add_list _+_(list(A), list(A)) list(A)
    add_string _+_(string, string) string
    add_uint64 _+_(uint, uint) uint
    subtract_double _-_(double, double) double
    subtract_duration_duration _-_(duration, duration) duration
    subtract_int64 _-_(int, int) int
    subtract_timestamp_duration _-_(timestamp, duration) timestamp
    subtract_timestamp_timestamp _-_(timestamp, timestamp) duration
    subtract_uint64 _-_(uint, uint) uint
    multiply_double _*_(double, double) double
    multiply_int64 _*_(int, int) int
    multiply_uint64 _*_(uint, uint) uint
    divide_double _/_(double, double) double
    divide_int64 _/_(int, int) int
    divide_uint64 _/_(uint, uint) uint
    modulo_int64 _%_(int, int) int
    modulo_uint64 _%_(uint, uint) uint
    negate_double -_(double) double
    negate_int64 -_(int) int
    less_bool _<_(bool, bool) bool
    less_int64 _<_(int, int) bool
    less_int64_double _<_(int, double) bool
    less_int64_uint64 _<_(int, uint) bool
    less_uint64 _<_(uint, uint) bool
    less_uint64_double _<_(uint, double) bool
    less_uint64_int64 _<_(uint, int) bool
    less_double _<_(double, double) bool
    less_double_int64 _<_(double, int) bool
    less_double_uint64 _<_(double, uint) bool
    less_string _<_(string, string) bool
    less_bytes _<_(bytes, bytes) bool
    less_timestamp _<_(timestamp, timestamp) bool
    less_duration _<_(duration, duration) bool
    less_equals_bool _<=_(bool, bool) bool
    less_equals_int64 _<=_(int, int) bool
    less_equals_int64_double _<=_(int, double) bool
    less_equals_int64_uint64 _<=_(int, uint) bool
    less_equals_uint64 _<=_(uint, uint) bool
    less_equals_uint64_double _<=_(uint, double) bool
    less_equals_uint64_int64 _<=_(uint, int) bool
    less_equals_double _<=_(double, double) bool
    less_equals_double_int64 _<=_(double, int) bool
    less_equals_double_uint64 _<=_(double, uint) bool
    less_equals_string _<=_(string, string) bool
    less_equals_bytes _<=_(bytes, bytes) bool
    less_equals_timestamp _<=_(timestamp, timestamp) bool
    less_equals_duration _<=_(duration, duration) bool
    greater_bool _>_(bool, bool) bool
    greater_int64 _>_(int, int) bool
    greater_int64_double _>_(int, double) bool
    greater_int64_uint64 _>_(int, uint) bool
    greater_uint64 _>_(uint, uint) bool
    greater_uint64_double _>_(uint, double) bool
    greater_uint64_int64 _>_(uint, int) bool
    greater_double _>_(double, double) bool
    greater_double_int64 _>_(double, int) bool
    greater_double_uint64 _>_(double, uint) bool
    greater_string _>_(string, string) bool
    greater_bytes _>_(bytes, bytes) bool
    greater_timestamp _>_(timestamp, timestamp) bool
    greater_duration _>_(duration, duration) bool
    greater_equals_bool _>=_(bool, bool) bool
    greater_equals_int64 _>=_(int, int) bool
    greater_equals_int64_double _>=_(int, double) bool
    greater_equals_int64_uint64 _>=_(int, uint) bool
    greater_equals_uint64 _>=_(uint, uint) bool
    greater_equals_uint64_double _>=_(uint, double) bool
    greater_equals_uint64_int64 _>=_(uint, int) bool
    greater_equals_double _>=_(double, double) bool
    greater_equals_double_int64 _>=_(double, int) bool
    greater_equals_double_uint64 _>=_(double, uint) bool
    greater_equals_string _>=_(string, string) bool
    greater_equals_bytes _>=_(bytes, bytes) bool
    greater_equals_timestamp _>=_(timestamp, timestamp) bool
    greater_equals_duration _>=_(duration, duration) bool
    index_list _[_](list(A), int) A
    index_map _[_](map(A, B), A) B
    optional_list_index_value _[_](optional(list(A)), int) optional(A)
    optional_map_index_value _[_](optional(map(A, B)), A) optional(B)
    list_optindex_optional_int _[?_](list(A), int) optional(A)
    map_optindex_optional_value _[?_](map(A, B), A) optional(B)
    optional_list_optindex_optional_int _[?_](optional(list(A)), int) optional(A)
    optional_map_optindex_optional_value _[?_](optional(map(A, B)), A) optional(B)
    in_list @in(A, list(A)) bool
    in_map @in(A, map(A, B)) bool
    @mapInsert_map_map cel.@mapInsert(map(A, B), map(A, B)) map(A, B)
    @mapInsert_map_key_value cel.@mapInsert(map(A, B), A, B) map(A, B)
";

const STANDARD: &str = "
    size_bytes size(bytes) int
    bytes_size bytes::size() int
    size_list size(list(A)) int
    list_size list(A)::size() int
    size_map size(map(A, B)) int
    map_size map(A, B)::size() int
    size_string size(string) int
    string_size string::size() int
    type type(A) type(A)
    to_dyn dyn(A) dyn
    bool_to_bool bool(bool) bool
    string_to_bool bool(string) bool
    bytes_to_bytes bytes(bytes) bytes
    string_to_bytes bytes(string) bytes
    double_to_double double(double) double
    int64_to_double double(int) double
    string_to_double double(string) double
    uint64_to_double double(uint) double
    duration_to_duration duration(duration) duration
    int64_to_duration duration(int) duration
    string_to_duration duration(string) duration
    int64_to_int64 int(int) int
    double_to_int64 int(double) int
    duration_to_int64 int(duration) int
    string_to_int64 int(string) int
    timestamp_to_int64 int(timestamp) int
    uint64_to_int64 int(uint) int
    string_to_string string(string) string
    bool_to_string string(bool) string
    bytes_to_string string(bytes) string
    double_to_string string(double) string
    duration_to_string string(duration) string
    int64_to_string string(int) string
    timestamp_to_string string(timestamp) string
    uint64_to_string string(uint) string
    timestamp_to_timestamp timestamp(timestamp) timestamp
    int64_to_timestamp timestamp(int) timestamp
    string_to_timestamp timestamp(string) timestamp
    uint64_to_uint64 uint(uint) uint
    double_to_uint64 uint(double) uint
    int64_to_uint64 uint(int) uint
    string_to_uint64 uint(string) uint
    matches matches(string, string) bool
    matches_string string::matches(string) bool
    contains_string string::contains(string) bool
    ends_with_string string::endsWith(string) bool
    starts_with_string string::startsWith(string) bool
";

const TIME: &str = "
    timestamp_to_year timestamp::getFullYear() int
    timestamp_to_year_with_tz timestamp::getFullYear(string) int
    timestamp_to_month timestamp::getMonth() int
    timestamp_to_month_with_tz timestamp::getMonth(string) int
    timestamp_to_day_of_year timestamp::getDayOfYear() int
    timestamp_to_day_of_year_with_tz timestamp::getDayOfYear(string) int
    timestamp_to_day_of_month timestamp::getDayOfMonth() int
    timestamp_to_day_of_month_with_tz timestamp::getDayOfMonth(string) int
    timestamp_to_day_of_month_1_based timestamp::getDate() int
    timestamp_to_day_of_month_1_based_with_tz timestamp::getDate(string) int
    timestamp_to_day_of_week timestamp::getDayOfWeek() int
    timestamp_to_day_of_week_with_tz timestamp::getDayOfWeek(string) int
    timestamp_to_hours timestamp::getHours() int
    timestamp_to_hours_with_tz timestamp::getHours(string) int
    duration_to_hours duration::getHours() int
    timestamp_to_minutes timestamp::getMinutes() int
    timestamp_to_minutes_with_tz timestamp::getMinutes(string) int
    duration_to_minutes duration::getMinutes() int
    timestamp_to_seconds timestamp::getSeconds() int
    timestamp_to_seconds_tz timestamp::getSeconds(string) int
    duration_to_seconds duration::getSeconds() int
    timestamp_to_milliseconds timestamp::getMilliseconds() int
    timestamp_to_milliseconds_with_tz timestamp::getMilliseconds(string) int
    duration_to_milliseconds duration::getMilliseconds() int
";

const STRINGS: &str = "
    string_char_at_int string::charAt(int) string
    string_index_of_string string::indexOf(string) int
    string_index_of_string_int string::indexOf(string, int) int
    string_last_index_of_string string::lastIndexOf(string) int
    string_last_index_of_string_int string::lastIndexOf(string, int) int
    string_lower_ascii string::lowerAscii() string
    string_upper_ascii string::upperAscii() string
    string_replace_string_string string::replace(string, string) string
    string_replace_string_string_int string::replace(string, string, int) string
    string_split_string string::split(string) list(string)
    string_split_string_int string::split(string, int) list(string)
    string_substring_int string::substring(int) string
    string_substring_int_int string::substring(int, int) string
    string_trim string::trim() string
    string_format string::format(list(dyn)) string
    strings_quote strings.quote(string) string
    list_join list(string)::join() string
    list_join_string list(string)::join(string) string
    string_find_string string::find(string) string
    string_find_all_string string::findAll(string) list(string)
    string_find_all_string_int string::findAll(string, int) list(string)
";

const LISTS: &str = "
    list_int_is_sorted_bool list(int)::isSorted() bool
    list_uint_is_sorted_bool list(uint)::isSorted() bool
    list_double_is_sorted_bool list(double)::isSorted() bool
    list_bool_is_sorted_bool list(bool)::isSorted() bool
    list_duration_is_sorted_bool list(duration)::isSorted() bool
    list_timestamp_is_sorted_bool list(timestamp)::isSorted() bool
    list_string_is_sorted_bool list(string)::isSorted() bool
    list_bytes_is_sorted_bool list(bytes)::isSorted() bool
    list_int_sum_int list(int)::sum() int
    list_uint_sum_uint list(uint)::sum() uint
    list_double_sum_double list(double)::sum() double
    list_duration_sum_duration list(duration)::sum() duration
    list_int_max_int list(int)::max() int
    list_uint_max_uint list(uint)::max() uint
    list_double_max_double list(double)::max() double
    list_bool_max_bool list(bool)::max() bool
    list_duration_max_duration list(duration)::max() duration
    list_timestamp_max_timestamp list(timestamp)::max() timestamp
    list_string_max_string list(string)::max() string
    list_bytes_max_bytes list(bytes)::max() bytes
    list_int_min_int list(int)::min() int
    list_uint_min_uint list(uint)::min() uint
    list_double_min_double list(double)::min() double
    list_bool_min_bool list(bool)::min() bool
    list_duration_min_duration list(duration)::min() duration
    list_timestamp_min_timestamp list(timestamp)::min() timestamp
    list_string_min_string list(string)::min() string
    list_bytes_min_bytes list(bytes)::min() bytes
    list_a_index_of_int list(A)::indexOf(A) int
    list_a_last_index_of_int list(A)::lastIndexOf(A) int
    list_includes_dyn_dyn dyn::includes(dyn) bool
    list_slice list(A)::slice(int, int) list(A)
    list_flatten list(list(A))::flatten() list(A)
    list_flatten_int list(dyn)::flatten(int) list(dyn)
    list_distinct list(A)::distinct() list(A)
    list_reverse list(A)::reverse() list(A)
    list_first list(A)::first() optional(A)
    list_last list(A)::last() optional(A)
    lists_range lists.range(int) list(int)
    list_int_sort list(int)::sort() list(int)
    list_uint_sort list(uint)::sort() list(uint)
    list_double_sort list(double)::sort() list(double)
    list_bool_sort list(bool)::sort() list(bool)
    list_duration_sort list(duration)::sort() list(duration)
    list_timestamp_sort list(timestamp)::sort() list(timestamp)
    list_string_sort list(string)::sort() list(string)
    list_bytes_sort list(bytes)::sort() list(bytes)
    list_sortByAssociatedKeys list(A)::@sortByAssociatedKeys(list(B)) list(A)
    list_sets_contains_list sets.contains(list(A), list(A)) bool
    list_sets_equivalent_list sets.equivalent(list(A), list(A)) bool
    list_sets_intersects_list sets.intersects(list(A), list(A)) bool
";

const KUBERNETES: &str = "
    string_to_quantity quantity(string) Quantity
    is_quantity_string isQuantity(string) bool
    quantity_sign Quantity::sign() int
    quantity_is_integer Quantity::isInteger() bool
    quantity_as_integer Quantity::asInteger() int
    quantity_as_float Quantity::asApproximateFloat() double
    quantity_is_greater_than Quantity::isGreaterThan(Quantity) bool
    quantity_is_less_than Quantity::isLessThan(Quantity) bool
    quantity_compare_to Quantity::compareTo(Quantity) int
    quantity_add Quantity::add(Quantity) Quantity
    quantity_add_int Quantity::add(int) Quantity
    quantity_sub Quantity::sub(Quantity) Quantity
    quantity_sub_int Quantity::sub(int) Quantity
    string_to_semver semver(string) Semver
    string_bool_to_semver semver(string, bool) Semver
    is_semver_string isSemver(string) bool
    is_semver_string_bool isSemver(string, bool) bool
    semver_is_greater_than Semver::isGreaterThan(Semver) bool
    semver_is_less_than Semver::isLessThan(Semver) bool
    semver_compare_to Semver::compareTo(Semver) int
    semver_major Semver::major() int
    semver_minor Semver::minor() int
    semver_patch Semver::patch() int
    format-validate NamedFormat::validate(string) optional(list(string))
    format-named format.named(string) optional(NamedFormat)
    format.dns1123Label format.dns1123Label() NamedFormat
    format.dns1123Subdomain format.dns1123Subdomain() NamedFormat
    format.dns1035Label format.dns1035Label() NamedFormat
    format.qualifiedName format.qualifiedName() NamedFormat
    format.dns1123LabelPrefix format.dns1123LabelPrefix() NamedFormat
    format.dns1123SubdomainPrefix format.dns1123SubdomainPrefix() NamedFormat
    format.dns1035LabelPrefix format.dns1035LabelPrefix() NamedFormat
    format.labelValue format.labelValue() NamedFormat
    format.uri format.uri() NamedFormat
    format.uuid format.uuid() NamedFormat
    format.byte format.byte() NamedFormat
    format.date format.date() NamedFormat
    format.datetime format.datetime() NamedFormat
    string_jsonpatch_escapeKey_string jsonpatch.escapeKey(string) string
";

const NETWORK: &str = "
    string_to_url url(string) URL
    is_url_string isURL(string) bool
    url_get_scheme URL::getScheme() string
    url_get_host URL::getHost() string
    url_get_hostname URL::getHostname() string
    url_get_port URL::getPort() string
    url_get_escaped_path URL::getEscapedPath() string
    url_get_query URL::getQuery() map(string, list(string))
    string_to_ip ip(string) IP
    cidr_ip CIDR::ip() IP
    is_ip isIP(string) bool
    ip_is_canonical ip.isCanonical(string) bool
    ip_to_string string(IP) string
    ip_family IP::family() int
    ip_is_unspecified IP::isUnspecified() bool
    ip_is_loopback IP::isLoopback() bool
    ip_is_link_local_multicast IP::isLinkLocalMulticast() bool
    ip_is_link_local_unicast IP::isLinkLocalUnicast() bool
    ip_is_global_unicast IP::isGlobalUnicast() bool
    string_to_cidr cidr(string) CIDR
    is_cidr isCIDR(string) bool
    cidr_to_string string(CIDR) string
    cidr_contains_ip_string CIDR::containsIP(string) bool
    cidr_contains_ip_ip CIDR::containsIP(IP) bool
    cidr_contains_cidr_string CIDR::containsCIDR(string) bool
    cidr_contains_cidr CIDR::containsCIDR(CIDR) bool
    cidr_prefix_length CIDR::prefixLength() int
    cidr_masked CIDR::masked() CIDR
";

const AUTHORIZATION: &str = "
    authorizer_path Authorizer::path(string) PathCheck
    authorizer_group Authorizer::group(string) GroupCheck
    authorizer_serviceaccount Authorizer::serviceAccount(string, string) Authorizer
    pathcheck_check PathCheck::check(string) Decision
    groupcheck_resource GroupCheck::resource(string) ResourceCheck
    resourcecheck_subresource ResourceCheck::subresource(string) ResourceCheck
    resourcecheck_namespace ResourceCheck::namespace(string) ResourceCheck
    resourcecheck_name ResourceCheck::name(string) ResourceCheck
    resourcecheck_fieldselector ResourceCheck::fieldSelector(string) ResourceCheck
    resourcecheck_labelselector ResourceCheck::labelSelector(string) ResourceCheck
    resourcecheck_check ResourceCheck::check(string) Decision
    decision_errored Decision::errored() bool
    decision_error Decision::error() string
    decision_allowed Decision::allowed() bool
    decision_reason Decision::reason() string
";

const OPTIONAL: &str = "
    optional_of optional.of(A) optional(A)
    optional_ofNonZeroValue optional.ofNonZeroValue(A) optional(A)
    optional_none optional.none() optional(A)
    optional_unwrap optional.unwrap(list(optional(A))) list(A)
    optional_unwrapOpt list(optional(A))::unwrapOpt() list(A)
    optional_value optional(A)::value() A
    optional_hasValue optional(A)::hasValue() bool
    optional_or_optional optional(A)::or(optional(A)) optional(A)
    optional_orValue_value optional(A)::orValue(A) A
";

const MATH: &str = "
    math_@max_double math.@max(double) double
    math_@max_int math.@max(int) int
    math_@max_uint math.@max(uint) uint
    math_@max_double_double math.@max(double, double) double
    math_@max_int_int math.@max(int, int) int
    math_@max_uint_uint math.@max(uint, uint) uint
    math_@max_dyn_dyn math.@max(dyn, dyn) dyn
    math_@max_list math.@max(list(dyn)) dyn
    math_@min_double math.@min(double) double
    math_@min_int math.@min(int) int
    math_@min_uint math.@min(uint) uint
    math_@min_double_double math.@min(double, double) double
    math_@min_int_int math.@min(int, int) int
    math_@min_uint_uint math.@min(uint, uint) uint
    math_@min_dyn_dyn math.@min(dyn, dyn) dyn
    math_@min_list math.@min(list(dyn)) dyn
    math_ceil_double math.ceil(double) double
    math_floor_double math.floor(double) double
    math_round_double math.round(double) double
    math_trunc_double math.trunc(double) double
    math_isInf_double math.isInf(double) bool
    math_isNaN_double math.isNaN(double) bool
    math_isFinite_double math.isFinite(double) bool
    math_abs_double math.abs(double) double
    math_abs_int math.abs(int) int
    math_abs_uint math.abs(uint) uint
    math_sign_double math.sign(double) double
    math_sign_int math.sign(int) int
    math_sign_uint math.sign(uint) uint
    math_sqrt_double math.sqrt(double) double
    math_sqrt_int math.sqrt(int) double
    math_sqrt_uint math.sqrt(uint) double
    math_bitAnd_int_int math.bitAnd(int, int) int
    math_bitAnd_uint_uint math.bitAnd(uint, uint) uint
    math_bitOr_int_int math.bitOr(int, int) int
    math_bitOr_uint_uint math.bitOr(uint, uint) uint
    math_bitXor_int_int math.bitXor(int, int) int
    math_bitXor_uint_uint math.bitXor(uint, uint) uint
    math_bitNot_int_int math.bitNot(int) int
    math_bitNot_uint_uint math.bitNot(uint) uint
    math_bitShiftLeft_int_int math.bitShiftLeft(int, int) int
    math_bitShiftLeft_uint_int math.bitShiftLeft(uint, int) uint
    math_bitShiftRight_int_int math.bitShiftRight(int, int) int
    math_bitShiftRight_uint_int math.bitShiftRight(uint, int) uint
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_tables_is_an_overload() {
        let tables = [OPERATORS, STANDARD, TIME, STRINGS, LISTS, KUBERNETES, NETWORK, AUTHORIZATION, OPTIONAL, MATH];
        for line in tables.iter().flat_map(|table| table.lines()).map(str::trim).filter(|line| !line.is_empty()) {
            assert!(read(line).is_some(), "{line}");
        }
        assert_eq!(FUNCTIONS["_?_:_"][0].parameters, 1);
        assert_eq!(FUNCTIONS["@in"][1].parameters, 2);
        assert_eq!(FUNCTIONS["charAt"][0].parameters, 0);
    }
}
