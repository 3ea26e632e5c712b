# Run at installation: what lies elsewhere by prefix. The system's node reads /etc/littlebird, wherever it is installed; a prefix
# that is not the system's gets its own, to be read with --dir. What an administrator has written
# stays as it is.
if(CMAKE_INSTALL_PREFIX MATCHES "^/usr(/local)?/?$")
  set(etc /etc/littlebird)
else()
  set(etc ${CMAKE_INSTALL_PREFIX}/etc/littlebird)
endif()
if(EXISTS $ENV{DESTDIR}${etc}/littlebird.conf)
  message(STATUS "Kept: $ENV{DESTDIR}${etc}/littlebird.conf")
else()
  file(INSTALL ${CMAKE_CURRENT_LIST_DIR}/littlebird.conf DESTINATION ${etc})
endif()

# zsh of Debian looks for what packages bring here, and for what was built on the machine there.
if(CMAKE_INSTALL_PREFIX MATCHES "^/usr/?$")
  set(zsh share/zsh/vendor-completions)
else()
  set(zsh share/zsh/site-functions)
endif()
file(INSTALL ${CMAKE_CURRENT_LIST_DIR}/completion/_littlebird
  DESTINATION ${CMAKE_INSTALL_PREFIX}/${zsh})
