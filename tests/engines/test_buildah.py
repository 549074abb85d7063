"""buildah, whose RUN is a container of minictr's."""

import shutil

import pytest
from daemons import LIMITS, write
from support import needs

pytestmark = needs("root", "buildah", "busybox")

BUILD = """
FROM scratch
ADD busybox.tar /
ENV WHO=me
WORKDIR /srv/app
RUN id -u; pwd; echo $WHO | tee said; cat /proc/1/comm; grep ^Seccomp: /proc/self/status
USER app
RUN id -u; touch /tmp/x; touch /x || echo refused
USER root
RUN --mount=type=tmpfs,target=/cache --mount=type=bind,source=.,target=/ctx,z ls /ctx/busybox.tar && >/cache/x
RUN --mount=type=secret,id=s cat /run/secrets/s
RUN test ! -e /run/secrets/s && test ! -e /cache/x && sleep 100 & exit %d
"""


SAID = ["0", "/srv/app", "me", "sh", "Seccomp:\t2", "1000", "refused", "/ctx/busybox.tar", "of nobody else"]


@pytest.mark.parametrize("status", [0, 7])
def test_an_image_is_built_step_by_step(buildah, launcher, archive, status):
    write(buildah.place, "Containerfile", BUILD % status)
    write(buildah.place, "secret", "of nobody else\n")
    shutil.copy(archive, buildah.place)
    words = ("--runtime", launcher, "--isolation", "oci", "--network", "none", "--no-cache")
    words += tuple("--ulimit=" + limit for limit in LIMITS) + ("--volume", buildah.place + ":/vol:ro,Z")
    secret = ("--secret", "id=s,src=%s/secret" % buildah.place)
    found = buildah("bud", *(words + secret + ("--file", buildah.place + "/Containerfile", buildah.place)))
    assert found.status == status, found
    assert [line for line in found.lines if not line.startswith(("STEP", "-->"))][: len(SAID)] == SAID
