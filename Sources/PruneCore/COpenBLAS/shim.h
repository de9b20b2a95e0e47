/* SPDX-License-Identifier: Apache-2.0 */
/* CBLAS, OpenBLAS's own controls, and the LAPACK routines in use, as a Swift module. */
#include <cblas.h>

/* LAPACK, column-major, as OpenBLAS exports it; its header is a package of its own. */
void dpotrf_(const char *triangle, const blasint *n, double *a, const blasint *stride, blasint *info);
void dpotrs_(const char *triangle, const blasint *n, const blasint *columns, const double *a, const blasint *stride,
             double *b, const blasint *stride_b, blasint *info);
void dpotri_(const char *triangle, const blasint *n, double *a, const blasint *stride, blasint *info);
void dsyevr_(const char *vectors, const char *range, const char *triangle, const blasint *n, double *a,
             const blasint *stride, const double *lowest, const double *highest, const blasint *first,
             const blasint *last, const double *tolerance, blasint *found, double *values, double *z,
             const blasint *stride_z, blasint *support, double *work, const blasint *work_count, blasint *integers,
             const blasint *integer_count, blasint *info);
