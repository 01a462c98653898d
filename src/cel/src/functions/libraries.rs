//! The functions of the libraries that Kubernetes brings along.

pub(super) const STRINGS: &str = "
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

pub(super) const LISTS: &str = "
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

pub(super) const KUBERNETES: &str = "
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

pub(super) const NETWORK: &str = "
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

pub(super) const AUTHORIZATION: &str = "
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

pub(super) const OPTIONAL: &str = "
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

pub(super) const MATH: &str = "
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
