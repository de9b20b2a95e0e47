/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A C99 program with Python inside, and a model that only Python knows: its layers are NumPy. PruneCore scores it twice
 * in this one process: through the C API, whose callbacks call into Python, and through the Python package. The two
 * results must be equal.
 *
 *   embed_python PYTHON_EXECUTABLE SCRIPT
 *
 * for instance: embed_python .venv/bin/python examples/c/numpy_decoder.py
 *
 * Give the Python of a virtual environment that has NumPy and prunecore, and link this program to the libpython of the
 * same version. The script defines `host`, a prunecore.Host.
 *
 *   cc -std=c99 -Iinclude $(python3-config --includes) examples/c/embed_python.c -Lbuild/lib -lprunecore
 *      -Wl,-rpath,$PWD/build/lib $(python3-config --ldflags --embed) -o embed_python
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <prunecore.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SUBLAYERS = 64,
    METRICS = 7,
    TOKENS = 24,
    SEQUENCES = 3
};

static const uint64_t metrics = PRUNE_METRIC_ALL_OF_STATES | PRUNE_METRIC_LEAVE_ONE_OUT_LOSS;
static const int64_t lengths[SEQUENCES] = { 12, 4, 8 };
static int32_t ids[TOKENS];

static void must(prune_status status, const char *doing)
{
    if (status != PRUNE_OK) {
        fprintf(stderr, "%s: %s: %s\n", doing, prune_status_name(status), prune_last_error());
        exit(EXIT_FAILURE);
    }
}

/* For calls into Python that fail only in a broken installation. */
static PyObject *needed(PyObject *object, const char *doing)
{
    if (object == NULL) {
        fprintf(stderr, "%s:\n", doing);
        PyErr_Print();
        exit(EXIT_FAILURE);
    }
    return object;
}

/* --------------------------------------------------------------------------------------------------------------------
 * The host: callbacks that call methods of a Python object. The interpreter's lock is released while the library
 * computes, so each callback takes it first, and may run on any thread.
 * ------------------------------------------------------------------------------------------------------------------*/

typedef struct host {
    PyObject *object;
    int64_t hidden_size, vocabulary_size;
} host;

/* A state: a Python object, and the number of rows that it must have. */
typedef struct state {
    PyObject *object;
    size_t n_tokens;
} state;

/* Passes the text of the current exception to the library, and clears the exception. */
static prune_status failed(void)
{
    PyObject *type, *value, *trace, *text;
    const char *sentence = NULL;
    PyErr_Fetch(&type, &value, &trace);
    PyErr_NormalizeException(&type, &value, &trace);
    text = value == NULL ? NULL : PyObject_Repr(value);
    if (text != NULL) {
        sentence = PyUnicode_AsUTF8(text);
    }
    prune_host_error_set(sentence);
    Py_XDECREF(text);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(trace);
    PyErr_Clear();
    return PRUNE_ERR_HOST;
}

/* Copies the `count` floats of an array, and releases the array. */
static prune_status copied(PyObject *array, float *out, size_t count)
{
    prune_status status = PRUNE_OK;
    Py_buffer buffer;
    if (array == NULL || PyObject_GetBuffer(array, &buffer, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) != 0) {
        Py_XDECREF(array);
        return failed();
    }
    if (buffer.format == NULL || strcmp(buffer.format, "f") != 0 || (size_t)buffer.len != count * sizeof *out) {
        prune_host_error_set("the host returned an array of another type or size");
        status = PRUNE_ERR_HOST;
    } else {
        memcpy(out, buffer.buf, (size_t)buffer.len);
    }
    PyBuffer_Release(&buffer);
    Py_DECREF(array);
    return status;
}

/* Makes a state of an object, and takes over the reference to it. NULL = out of memory. */
static state *state_of(PyObject *object, size_t n_tokens)
{
    state *made = object == NULL ? NULL : malloc(sizeof *made);
    if (made == NULL) {
        if (object != NULL) {
            PyErr_NoMemory();
        }
        Py_XDECREF(object);
        return NULL;
    }
    made->object = object;
    made->n_tokens = n_tokens;
    return made;
}

static void on_release(void *user_data, prune_host_state given)
{
    PyGILState_STATE lock = PyGILState_Ensure();
    (void)user_data;
    Py_DECREF(((state *)given)->object);
    free(given);
    PyGILState_Release(lock);
}

/* Makes a HostBatch of the package, with copies of the arrays. */
static PyObject *batch_object(const prune_host_batch *batch)
{
    PyObject *numpy = PyImport_ImportModule("numpy"), *package = PyImport_ImportModule("prunecore");
    PyObject *tokens = NULL, *sizes = NULL, *made = NULL;
    if (numpy != NULL && package != NULL) {
        tokens = PyObject_CallMethod(numpy, "frombuffer", "y#s", (const char *)batch->token_ids,
                                     (Py_ssize_t)(batch->n_tokens * sizeof *batch->token_ids), "i4");
        sizes = PyObject_CallMethod(numpy, "frombuffer", "y#s", (const char *)batch->sequence_lengths,
                                    (Py_ssize_t)(batch->n_sequences * sizeof *batch->sequence_lengths), "i8");
    }
    if (tokens != NULL && sizes != NULL) {
        made = PyObject_CallMethod(package, "HostBatch", "OO", tokens, sizes);
    }
    Py_XDECREF(tokens);
    Py_XDECREF(sizes);
    Py_XDECREF(numpy);
    Py_XDECREF(package);
    return made;
}

static prune_status on_embed(void *user_data, const prune_host_batch *batch, prune_host_state *out_state)
{
    PyGILState_STATE lock = PyGILState_Ensure();
    PyObject *given = batch_object(batch), *made = NULL;
    prune_status status = PRUNE_OK;
    state *after;
    if (given != NULL) {
        made = PyObject_CallMethod(((host *)user_data)->object, "embed", "(O)", given);
    }
    after = state_of(made, batch->n_tokens);
    if (after == NULL) {
        status = failed();
    } else {
        *out_state = after;
    }
    Py_XDECREF(given);
    PyGILState_Release(lock);
    return status;
}

static prune_status on_apply(void *user_data, int64_t sublayer, const prune_host_state *states, size_t n_states,
                             prune_host_state *out_states)
{
    PyGILState_STATE lock = PyGILState_Ensure();
    PyObject *before = PyList_New((Py_ssize_t)n_states), *result = NULL, *after = NULL;
    prune_status status = PRUNE_OK;
    size_t i;
    for (i = 0; before != NULL && i < n_states; i++) {
        const state *one = states[i];
        Py_INCREF(one->object);
        PyList_SET_ITEM(before, (Py_ssize_t)i, one->object);
    }
    if (before != NULL) {
        result = PyObject_CallMethod(((host *)user_data)->object, "apply", "(LO)", (long long)sublayer, before);
    }
    if (result != NULL) {
        after = PySequence_Fast(result, "apply returned no sequence");
    }
    if (after != NULL && (size_t)PySequence_Fast_GET_SIZE(after) != n_states) {
        PyErr_SetString(PyExc_ValueError, "apply returned another number of states");
        Py_CLEAR(after);
    }
    for (i = 0; after != NULL && i < n_states; i++) {
        PyObject *object = PySequence_Fast_GET_ITEM(after, (Py_ssize_t)i);
        Py_INCREF(object);
        out_states[i] = state_of(object, ((const state *)states[i])->n_tokens);
        if (out_states[i] == NULL) {
            while (i-- > 0) { /* all or none */
                on_release(user_data, out_states[i]);
            }
            Py_CLEAR(after);
        }
    }
    if (after == NULL) {
        status = failed();
    }
    Py_XDECREF(after);
    Py_XDECREF(result);
    Py_XDECREF(before);
    PyGILState_Release(lock);
    return status;
}

static prune_status on_read(void *user_data, prune_host_state given, float *out_values)
{
    PyGILState_STATE lock = PyGILState_Ensure();
    const host *from = user_data;
    const state *one = given;
    PyObject *values = PyObject_CallMethod(from->object, "read", "(O)", one->object);
    prune_status status = copied(values, out_values, one->n_tokens * (size_t)from->hidden_size);
    PyGILState_Release(lock);
    return status;
}

static prune_status on_logits(void *user_data, prune_host_state given, int64_t first_row, int64_t n_rows,
                              float *out_logits)
{
    PyGILState_STATE lock = PyGILState_Ensure();
    const host *from = user_data;
    PyObject *values = PyObject_CallMethod(from->object, "logits", "(OLL)", ((const state *)given)->object,
                                           (long long)first_row, (long long)n_rows);
    prune_status status = copied(values, out_logits, (size_t)(n_rows * from->vocabulary_size));
    PyGILState_Release(lock);
    return status;
}

static int64_t size_of(PyObject *object, const char *name)
{
    PyObject *value = needed(PyObject_GetAttrString(object, name), name);
    long long size = PyLong_AsLongLong(value);
    Py_DECREF(value);
    return size;
}

/* ------------------------------------------------------------------------------------------------------------------*/

/* Starts Python as the executable would: with the packages of its virtual environment. */
static void start_python(const char *executable)
{
    PyConfig config;
    PyStatus status;
    PyConfig_InitPythonConfig(&config);
    config.parse_argv = 0;
    config.install_signal_handlers = 0; /* signals are this program's */
    status = PyConfig_SetBytesString(&config, &config.program_name, executable);
    if (!PyStatus_Exception(status)) {
        status = Py_InitializeFromConfig(&config);
    }
    PyConfig_Clear(&config);
    if (PyStatus_Exception(status)) {
        Py_ExitStatusException(status);
    }
}

/* Runs the script and returns its `host`. */
static PyObject *defined_by(const char *script)
{
    PyObject *runner = needed(PyImport_ImportModule("runpy"), "runpy");
    PyObject *names = needed(PyObject_CallMethod(runner, "run_path", "s", script), script);
    PyObject *object = needed(PyMapping_GetItemString(names, "host"), "host");
    Py_DECREF(names);
    Py_DECREF(runner);
    return object;
}

static size_t scores_from_c(PyObject *object, double *out_scores)
{
    host from;
    prune_host callbacks = PRUNE_HOST_INIT;
    prune_score_options options = PRUNE_SCORE_OPTIONS_INIT;
    prune_model *model = NULL;
    prune_data *data = NULL;
    prune_status status;
    size_t count = 0;
    from.object = object;
    from.hidden_size = size_of(object, "hidden_size");
    from.vocabulary_size = size_of(object, "vocabulary_size");
    callbacks.user_data = &from;
    callbacks.n_blocks = size_of(object, "n_blocks");
    callbacks.hidden_size = from.hidden_size;
    callbacks.vocabulary_size = from.vocabulary_size;
    callbacks.embed = on_embed;
    callbacks.apply = on_apply;
    callbacks.release = on_release;
    callbacks.read = on_read;
    callbacks.logits = on_logits;
    options.metrics = metrics;
    must(prune_model_from_host(&callbacks, &model), "model");
    must(prune_data_create(ids, lengths, SEQUENCES, NULL, &data), "data");
    /* Py_BEGIN_ALLOW_THREADS without its braces: other threads may run Python while the library computes. */
    {
        PyThreadState *lock = PyEval_SaveThread();
        status = prune_model_score(model, data, &options, out_scores, METRICS * SUBLAYERS, &count);
        PyEval_RestoreThread(lock);
    }
    must(status, "score");
    prune_data_release(data);
    prune_model_release(model);
    return count;
}

/* Scores through the Python package: an array of float64, one row per metric. */
static PyObject *scores_from_python(PyObject *object)
{
    static const char code[] =
        "import numpy as np, prunecore as pc\n"
        "data = pc.Data(np.split(np.frombuffer(ids, dtype='i4'), np.cumsum(lengths)[:-1]))\n"
        "scores = pc.from_host(host).score(data, [*pc.STATIC_METRICS[:6], 'leave_one_out_loss'])\n"
        "scores = np.stack([scores[metric] for metric in scores.metrics])\n";
    PyObject *names = needed(PyDict_New(), "names");
    PyObject *tokens = needed(PyBytes_FromStringAndSize((const char *)ids, sizeof ids), "ids");
    PyObject *sizes =
        needed(Py_BuildValue("[LLL]", (long long)lengths[0], (long long)lengths[1], (long long)lengths[2]), "lengths");
    PyObject *scores;
    if (PyDict_SetItemString(names, "host", object) != 0 || PyDict_SetItemString(names, "ids", tokens) != 0 ||
        PyDict_SetItemString(names, "lengths", sizes) != 0 ||
        PyDict_SetItemString(names, "__builtins__", PyEval_GetBuiltins()) != 0) {
        needed(NULL, "names");
    }
    Py_DECREF(needed(PyRun_String(code, Py_file_input, names, names), "the package"));
    scores = needed(PyDict_GetItemString(names, "scores"), "scores");
    Py_INCREF(scores);
    Py_DECREF(sizes);
    Py_DECREF(tokens);
    Py_DECREF(names);
    return scores;
}

int main(int argc, char **argv)
{
    static double from_c[METRICS * SUBLAYERS];
    PyObject *object, *scores;
    Py_buffer from_python;
    size_t count, units, i, different = 0;
    if (argc != 3) {
        fprintf(stderr, "usage: %s PYTHON_EXECUTABLE SCRIPT\n", argv[0]);
        return EXIT_FAILURE;
    }
    for (i = 0; i < TOKENS; i++) {
        ids[i] = (int32_t)(i * 7 % 40);
    }
    start_python(argv[1]);
    object = defined_by(argv[2]);
    count = scores_from_c(object, from_c);
    scores = scores_from_python(object);
    if (PyObject_GetBuffer(scores, &from_python, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) != 0) {
        needed(NULL, "scores");
    }
    if (strcmp(from_python.format, "d") != 0 || (size_t)from_python.len != count * sizeof(double)) {
        fprintf(stderr, "C gave %lu scores, Python %ld bytes of them\n", (unsigned long)count, (long)from_python.len);
        return EXIT_FAILURE;
    }
    units = count / METRICS;
    printf("          cosine  leave one out\n");
    for (i = 0; i < units; i++) {
        printf("%s.%lu  %9.6f  %13.6f\n", i % 2 ? " ffn" : "attn", (unsigned long)(i / 2), from_c[i],
               from_c[(METRICS - 1) * units + i]);
    }
    for (i = 0; i < count; i++) {
        double other = ((const double *)from_python.buf)[i];
        /* Written so that NaN counts as different. */
        different += !(fabs(from_c[i] - other) <= 1e-12 * (1.0 + fabs(other)));
    }
    printf("%lu scores through C and through Python, %lu of them different\n", (unsigned long)count,
           (unsigned long)different);
    PyBuffer_Release(&from_python);
    Py_DECREF(scores);
    Py_DECREF(object);
    return Py_FinalizeEx() == 0 && different == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
