"""What the audit calls acts of access."""

from headend.audit import ACTIONS

SIGNED_IN = "sign_in"
SIGN_IN_FAILED = "sign_in_failed"
SIGNED_OUT = "sign_out"
PASSWORD_CHANGED = "password_changed"
SECOND_FACTOR_ON = "second_factor_on"
SECOND_FACTOR_OFF = "second_factor_off"
USER_ADDED = "user_added"
USER_CHANGED = "user_changed"
USER_RESET = "user_reset"
USER_UNLOCKED = "user_unlocked"
ROLE_GRANTED = "role_granted"
ROLE_ENDED = "role_ended"
CHANNEL_ADDED = "channel_added"
CHANNEL_CHANGED = "channel_changed"
CHANNEL_TOKEN = "channel_token"
CHANNEL_CLOSED = "channel_closed"
RULE_SET = "access_rule_set"

ACTIONS.update(
    {
        SIGNED_IN: ("signed in", "登录"),
        SIGN_IN_FAILED: ("could not sign in", "登录失败"),
        SIGNED_OUT: ("signed out", "退出登录"),
        PASSWORD_CHANGED: ("changed the own password", "修改密码"),
        SECOND_FACTOR_ON: ("turned the second factor on", "启用双重验证"),
        SECOND_FACTOR_OFF: ("turned the second factor off", "停用双重验证"),
        USER_ADDED: ("added a person", "新增用户"),
        USER_CHANGED: ("changed a person's account", "修改用户"),
        USER_RESET: ("gave a person a new password", "重置密码"),
        USER_UNLOCKED: ("unlocked a person's account", "解除锁定"),
        ROLE_GRANTED: ("granted a role", "授予角色"),
        ROLE_ENDED: ("ended a role", "收回角色"),
        CHANNEL_ADDED: ("added a channel", "新增渠道"),
        CHANNEL_CHANGED: ("changed a channel", "修改渠道"),
        CHANNEL_TOKEN: ("gave a channel a new token", "更换渠道令牌"),
        CHANNEL_CLOSED: ("closed a channel", "关闭渠道"),
        RULE_SET: ("set a rule of access", "修改访问规则"),
    }
)
