#include "core/base/local_communicator.h"
