def test_it(runtime, bundle):
    b = bundle()
    s = runtime.look(b)
    print(s.status, s.mounts, s.limits if hasattr(s,'limits') else '', s.environment, s.cwd, s.hostname, s.descriptors, s.session, s.ids, s.umask, s.node('/dev/null'), s.links, s.namespaces)
    assert 0
