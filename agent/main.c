/* SPDX-License-Identifier: Apache-2.0 */
/*
 * remora: the program. A table of commands; each command says which operands and options it takes, and
 * everything else is refused, so that a mistyped option never does something else.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "agent/cli.h"
#include "agent/daemon.h"
#include "agent/server.h"
#include "pkg/base/clock.h"
#include "pkg/trust/sshsig.h"
#include "pkg/trust/trust.h"

static const struct command {
    const char *name;
    const char *operands; /* for the usage line */
    const char *options;  /* short names of the options that it takes */
    int operand_min, operand_max;
    cli_fn *run;
    const char *sentence;
} commands[] = {
    {"agent", "[--check-config]", "cC", 0, 0, cli_agent, "run the daemon"},
    {"status", "[--json] [--watch]", "csjw", 0, 0, cli_status, "what the card runs, and why not"},
    {"deployments", "[NAME] [--json]", "csj", 0, 1, cli_deployments, "deployments and containers"},
    {"receipt", "NAME [--json]", "csj", 1, 1, cli_receipt, "why a deployment's containers run"},
    {"logs", "NAME[.COMPONENT[.SERVICE]] [-f]", "cf", 1, 1, cli_logs, "what a workload wrote"},
    {"sync", "", "cs", 0, 0, cli_sync, "ask the source at once"},
    {"plan", "", "cs", 0, 0, cli_plan, "what would be done now"},
    {"capabilities", "", "cs", 0, 0, cli_capabilities, "what the card is and has"},
    {"validate", "PATH", "c", 1, 1, cli_validate, "check documents before a push"},
    {"verify", "REFERENCE [--policy FILE] [--json]", "cpj", 1, 1, cli_verify,
     "what the trust policy says of an artifact"},
};

static int usage(FILE *out)
{
    fprintf(out, "usage: remora COMMAND [--config FILE] [--socket PATH] ...\n\n");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        char head[64];
        snprintf(head, sizeof(head), "%s %s", commands[i].name, commands[i].operands);
        fprintf(out, "  %-42s %s\n", head, commands[i].sentence);
    }
    fprintf(out, "  %-42s %s\n", "version", "the version of this program");
    return out == stdout ? CLI_DONE : CLI_USAGE;
}

/* What the agent would refuse at its start or at a reload. */
static int check_config(const struct cli *cli)
{
    CLEANUP(config_freep) struct config *config = NULL;
    CLEANUP(policy_freep) struct policy *policy = NULL;
    struct allowed_signers *signers = NULL;
    struct err err = ERR_INIT;
    if (config_load(cli->config_path, &config, &err) < 0 ||
        server_check(&config->status, &err) < 0 ||
        (config->policy_file != NULL &&
         policy_load(config->policy_file, clock_wall_ms(), &policy, &err) < 0)) {
        return cli_fail(&err);
    }
    if (config->git.allowed_signers != NULL &&
        allowed_signers_load(config->git.allowed_signers, &signers, &err) < 0) {
        (void)err_wrap(&err, "allowed_signers");
        return cli_fail(&err);
    }
    allowed_signers_free(signers);
    printf("%s: ok\n", cli->config_path);
    return CLI_DONE;
}

int cli_agent(struct cli *cli)
{
    struct err err = ERR_INIT;
    if (cli->is_check) {
        return check_config(cli);
    }
    return daemon_run(cli->config_path, &err) < 0 ? cli_fail(&err) : CLI_DONE;
}

static const struct option long_options[] = {
    {"config", required_argument, NULL, 'c'}, {"socket", required_argument, NULL, 's'},
    {"policy", required_argument, NULL, 'p'}, {"json", no_argument, NULL, 'j'},
    {"watch", no_argument, NULL, 'w'},        {"follow", no_argument, NULL, 'f'},
    {"check-config", no_argument, NULL, 'C'}, {0}};

static bool set_option(struct cli *cli, int option)
{
    switch (option) {
    case 'c':
        cli->config_path = optarg;
        cli->is_config_given = true;
        return true;
    case 's':
        free(cli->socket_path);
        cli->socket_path = strdup(optarg);
        return cli->socket_path != NULL;
    case 'p':
        cli->policy_path = optarg;
        return true;
    case 'j':
        cli->is_json = true;
        return true;
    case 'w':
        cli->is_watching = true;
        return true;
    case 'f':
        cli->is_following = true;
        return true;
    case 'C':
        cli->is_check = true;
        return true;
    default:
        return false;
    }
}

/* --socket, else the socket of a configuration that can be read, else the default place. */
static int find_socket(struct cli *cli)
{
    CLEANUP(config_freep) struct config *config = NULL;
    struct err err = ERR_INIT;
    if (cli->socket_path != NULL) {
        return CLI_DONE;
    }
    if (config_load(cli->config_path, &config, &err) < 0 && cli->is_config_given) {
        return cli_fail(&err);
    }
    cli->socket_path = strdup(config != NULL ? config->status.socket : CLI_SOCKET_DEFAULT);
    return cli->socket_path != NULL ? CLI_DONE : CLI_NO;
}

static int run(const struct command *command, struct cli *cli, int argc, char **argv)
{
    int option;
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        printf("usage: remora %s %s\n\n%s\n", command->name, command->operands, command->sentence);
        return CLI_DONE;
    }
    while ((option = getopt_long(argc, argv, "f", long_options, NULL)) != -1) {
        if (option == '?' || strchr(command->options, option) == NULL || !set_option(cli, option)) {
            fprintf(stderr, "usage: remora %s %s\n", command->name, command->operands);
            return CLI_USAGE;
        }
    }
    cli->argc = argc - optind;
    cli->argv = argv + optind;
    if (cli->argc < command->operand_min || cli->argc > command->operand_max) {
        fprintf(stderr, "usage: remora %s %s\n", command->name, command->operands);
        return CLI_USAGE;
    }
    if (strchr(command->options, 's') != NULL) {
        int status = find_socket(cli);
        if (status != CLI_DONE) {
            return status;
        }
    }
    return command->run(cli);
}

int main(int argc, char **argv)
{
    CLEANUP(free_charp) char *socket_path = NULL;
    struct cli cli = {.config_path = CONFIG_PATH_DEFAULT};
    if (argc < 2) {
        return usage(stderr);
    }
    if (strcmp(argv[1], "version") == 0 || strcmp(argv[1], "--version") == 0) {
        printf("remora %s\n", REMORA_VERSION);
        return CLI_DONE;
    }
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0) {
        return usage(stdout);
    }
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            int status = run(&commands[i], &cli, argc - 1, argv + 1);
            socket_path = cli.socket_path;
            return status;
        }
    }
    fprintf(stderr, "remora: there is no command '%s'\n", argv[1]);
    return usage(stderr);
}
