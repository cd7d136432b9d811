//! nginx's directives that come to nothing, and why.

use crate::statement::Statement;

/// Directives that mean nothing to hafw, or what it does anyway: not worth a remark.
const SAME: [&str; 22] = [
    "access_log",
    "charset",
    "default_type",
    "error_log",
    "etag",
    "ip_hash",
    "keepalive_requests",
    "log_format",
    "log_not_found",
    "proxy_buffer_size",
    "proxy_buffering",
    "proxy_buffers",
    "proxy_busy_buffers_size",
    "proxy_http_version",
    "proxy_ignore_client_abort",
    "sendfile",
    "server_tokens",
    "tcp_nodelay",
    "tcp_nopush",
    "types",
    "types_hash_max_size",
    "underscores_in_headers",
];

const REASONS: [(&str, &[&str]); 4] = [
    (
        "a setting of nginx's processes",
        &[
            "daemon",
            "events",
            "lock_file",
            "load_module",
            "master_process",
            "pcre_jit",
            "pid",
            "thread_pool",
            "timer_resolution",
            "user",
            "worker_cpu_affinity",
            "worker_priority",
            "worker_processes",
            "worker_rlimit_nofile",
            "worker_shutdown_timeout",
            "working_directory",
        ],
    ),
    (
        "no equivalent: pages replace the proxy's own answers only, see error_page",
        &[
            "error_page",
            "proxy_intercept_errors",
            "recursive_error_pages",
        ],
    ),
    (
        "no equivalent: nothing is limited",
        &[
            "limit_conn",
            "limit_rate",
            "limit_req",
            "limit_conn_zone",
            "limit_req_zone",
        ],
    ),
    (
        "no equivalent: nothing is kept or compressed",
        &[
            "gzip",
            "gzip_comp_level",
            "gzip_disable",
            "gzip_min_length",
            "gzip_proxied",
            "gzip_types",
            "gzip_vary",
            "proxy_cache",
            "proxy_cache_path",
            "proxy_cache_valid",
        ],
    ),
];

/// Why a directive comes to nothing; None where nothing is lost.
pub(super) fn why(keyword: &str, statement: &Statement) -> Option<&'static str> {
    if SAME.contains(&keyword) || statement.arg() == Some("off") {
        return None;
    }
    let reason = REASONS
        .iter()
        .find(|(_, keywords)| keywords.contains(&keyword));
    Some(reason.map_or("no equivalent", |(reason, _)| *reason))
}
