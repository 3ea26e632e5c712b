# The Debian package: `cmake --build FOLDER --target package`, or config/package for all of it.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME littlebird)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "node of a file swarm and a distributed hash table")
set(CPACK_PACKAGE_DESCRIPTION
"Shares files with a whole class or server room, every machine that fetches
uploading too (BitTorrent), and keeps small values (Kademlia, BEP 5 and BEP
44), with no server in the middle. Runs under systemd as several services,
each with its own privileges.")
set(CPACK_PACKAGE_CONTACT "Littlebird <root@localhost>")
# Installed as for this prefix, whatever that of the build folder is: what is compiled does not
# know where it lies, and the units are made at installation.
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# systemd: systemd-sysusers and systemd-tmpfiles.
set(CPACK_DEBIAN_PACKAGE_DEPENDS "systemd, init-system-helpers, passwd")
# Loaded when they are there: metrics, web seeds.
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "libmicrohttpd12, libcurl4")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "bash-completion")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
foreach(script conffiles postinst prerm postrm)
  list(APPEND CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_CURRENT_SOURCE_DIR}/debian/${script})
endforeach()
include(CPack)
