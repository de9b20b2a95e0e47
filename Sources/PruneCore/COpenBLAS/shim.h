/* CBLAS, OpenBLAS's own controls, and the LAPACK routines in use, as a Swift module. */
#include <cblas.h>

/* LAPACK, column-major, as OpenBLAS exports it; its header is a package of its own. */
void dpotrf_(const char *triangle, const blasint *n, double *a, const blasint *stride, blasint *info);
void dpotrs_(const char *triangle, const blasint *n, const blasint *columns, const double *a, const blasint *stride,
             double *b, const blasint *stride_b, blasint *info);
void dpotri_(const char *triangle, const blasint *n, double *a, const blasint *stride, blasint *info);
