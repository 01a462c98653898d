use super::*;

fn config(text: &str) -> ClientConfig {
    let home = Path::new("/home/me");
    let mut parser = Parser { home, directives: Vec::new() };
    parser.text(Path::new("config"), text, &[], 0).unwrap();
    ClientConfig { home: home.to_owned(), local_user: "me".to_owned(), directives: parser.directives }
}

#[test]
fn the_first_value_holds_and_key_files_add_up() {
    let config = config(
        "Host web? !web9\n  HostName %h.example.org\n  Port=2222\n  IdentityFile \"~/.ssh/my key\"\n\
         Host *\n  User admin # everywhere\n  Port 22\n  IdentityFile %d/keys/%r@%h\n  IdentitiesOnly yes\n",
    );
    let web = config.host("web1").unwrap();
    assert_eq!(web.host_name.as_deref(), Some("web1.example.org"));
    assert_eq!(web.port, Some(2222));
    assert_eq!(web.user.as_deref(), Some("admin"));
    assert_eq!(
        web.identity_files,
        [PathBuf::from("/home/me/.ssh/my key"), PathBuf::from("/home/me/keys/admin@web1.example.org")]
    );
    assert_eq!(config.host("web9").unwrap().port, Some(22));
}

#[test]
fn match_blocks_hold_by_host_and_user_and_unsupported_ones_never_hold() {
    let config = config(
        "Host alias\n HostName real.example.org\nMatch host *.example.org user me\n Port 1\n\
         Match originalhost alias exec \"true\"\n User nobody\nMatch all\n ConnectTimeout 7\n",
    );
    let found = config.host("alias").unwrap();
    assert_eq!((found.port, found.user.as_deref(), found.connect_timeout_s), (Some(1), None, Some(7)));
    assert_eq!(config.host("other").unwrap().port, None);
}

#[test]
fn jump_hosts_are_resolved_through_the_same_file() {
    let config = config(
        "Host inner\n ProxyJump gate,ops@[fd00::1]:2200\nHost gate\n HostName 192.0.2.1\n User jump\n ProxyJump outer\n",
    );
    let target = config.target("inner").unwrap();
    let last = target.jump.as_deref().unwrap();
    assert_eq!((last.host.as_str(), last.port, last.user.as_str()), ("fd00::1", 2200, "ops"));
    let gate = last.jump.as_deref().unwrap();
    assert_eq!((gate.host.as_str(), gate.user.as_str()), ("192.0.2.1", "jump"));
    assert_eq!(gate.jump.as_deref().unwrap().host, "outer");
}

#[test]
fn jump_hosts_that_lead_to_themselves_are_refused() {
    let config = config("Host a\n ProxyJump b\nHost b\n ProxyJump a\n");
    assert!(stdx::error::chain(&config.target("a").unwrap_err()).contains("deep"));
}

#[test]
fn what_would_change_the_way_to_a_host_is_refused_where_it_applies() {
    let config = config("Host odd\n ProxyCommand nc %h %p\nHost fine\n ProxyCommand none\n");
    let error = config.target("odd").unwrap_err().to_string();
    assert_eq!(error, "ssh configuration config:2: ProxyCommand is not supported: use ProxyJump");
    config.target("fine").unwrap();
}

#[test]
fn wrong_values_name_their_place() {
    for (text, problem) in [
        ("Host x\nPort many\n", "config:2: `Port many`: a number is expected"),
        ("StrictHostKeyChecking perhaps\n", "config:1: `StrictHostKeyChecking perhaps`"),
        ("IdentityFile %z\n", "config:1: unknown token %z"),
    ] {
        let error = config(text).host("x").unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
    let home = Path::new("/");
    for text in ["User \"me\n", "Port\n"] {
        let mut parser = Parser { home, directives: Vec::new() };
        assert!(parser.text(Path::new("config"), text, &[], 0).is_err(), "{text}");
    }
}

#[test]
fn strictness_and_files_become_the_policy() {
    let config = config("StrictHostKeyChecking accept-new\nUserKnownHostsFile ~/a /b\n");
    let HostKeyPolicy::AcceptNew(files) = config.target("x").unwrap().host_key else { panic!("accept-new") };
    assert_eq!(files[..2], [PathBuf::from("/home/me/a"), PathBuf::from("/b")]);
}

#[test]
fn included_files_hold_under_the_conditions_around_the_include() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join(".ssh/conf.d")).unwrap();
    std::fs::write(folder.path().join(".ssh/conf.d/1.conf"), "User one\nHost b\n User never\n").unwrap();
    let main = folder.path().join(".ssh/config");
    std::fs::write(&main, "Host a\n Include conf.d/*.conf\n Port 5\nHost b\n User two\n").unwrap();
    let config = ClientConfig::load_file(&main, folder.path()).unwrap();
    assert_eq!(config.host("a").unwrap().user.as_deref(), Some("one"));
    assert_eq!(config.host("a").unwrap().port, Some(5));
    assert_eq!(config.host("b").unwrap().user.as_deref(), Some("two"));
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_fail_otherwise_than_by_an_error(text in "([A-Za-z]{1,8}[ =]?[\"%~a-z*!,\\\\ #]{0,12}\n?){0,8}") {
        let mut parser = Parser { home: Path::new("/nowhere"), directives: Vec::new() };
        if parser.text(Path::new("config"), &text, &[], 0).is_ok() {
            let config = ClientConfig { home: "/nowhere".into(), local_user: "me".into(), directives: parser.directives };
            let _ = config.target("host");
        }
    }

    #[test]
    fn words_are_read_back_from_quotes(words in proptest::collection::vec("[^\"\\\\\n]{1,8}", 1..4)) {
        let line = format!("Keyword {}", words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(" "));
        let (keyword, read) = parse::split(&line).unwrap().unwrap();
        proptest::prop_assert_eq!((keyword.as_str(), read), ("keyword", words));
    }
}
