# Run at installation: only then it is known where the programs come to lie, which the units name
# (`cmake --install --prefix`, a package). The caller sets from and libexec.
set(CMAKE_INSTALL_FULL_LIBEXECDIR ${CMAKE_INSTALL_PREFIX}/${libexec})
set(folder ${CMAKE_INSTALL_PREFIX}/lib/systemd/system)

function(make_unit template name)
  configure_file(${from}/${template} $ENV{DESTDIR}${folder}/${name} @ONLY)
  message(STATUS "Made: $ENV{DESTDIR}${folder}/${name}")
  list(APPEND CMAKE_INSTALL_MANIFEST_FILES ${folder}/${name})
  set(CMAKE_INSTALL_MANIFEST_FILES ${CMAKE_INSTALL_MANIFEST_FILES} PARENT_SCOPE)
endfunction()

foreach(service supervisor routing transport@ storage@ swarm@ signer coordinator member gateway)
  make_unit(littlebird-${service}.service.in littlebird-${service}.service)
endforeach()
# The UDP sockets of several workers are counted by the kernel in the order in which they were bound.
foreach(instance RANGE 1 15)
  math(EXPR before "${instance} - 1")
  make_unit(littlebird-transport-udp-order.conf.in
    littlebird-transport-udp@${instance}.socket.d/10-order.conf)
endforeach()
