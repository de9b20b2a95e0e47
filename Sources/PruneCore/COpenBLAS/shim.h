/* CBLAS and OpenBLAS's own controls, as a Swift module. */
#include <cblas.h>
